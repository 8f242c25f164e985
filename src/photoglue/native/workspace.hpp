// The memory of a call.
#pragma once
#include <vector>

#include "buffer.hpp"
#include "kernels.hpp"

namespace photoglue {

// A pair at work: its tokens are count[0] + count[1] rows, after those of the pairs before it.
struct Pair {
  int number;  // in the batch
  long start;  // first token
  long count[2];
  long slot[2];  // first of either image
};

struct Task {
  Rows rows;
  Partners own, cross;
};

// Memory of pairs whose matches are read off together.
struct Assignment {
  Buffer<float> descriptors, others, kept, row, logits, column, peaks, sums, best, tables;
  Buffer<int32_t> panels, choice;
};

struct Workspace {
  Buffer<float> x, cosine, sine, context, query_scales, key_scales, key_biases, value_inverses;
  Buffer<int32_t> queries, keys, values;
  Buffer<int64_t> origin;  // of each token, its row in the batch
  Buffer<float> confidence, matchability;
  Buffer<uint8_t> stays;
  Buffer<std::byte> scratch;
  Assignment assignment;
  std::vector<Pair> pairs;
  std::vector<Task> tasks;
};

}  // namespace photoglue
