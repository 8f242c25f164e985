// Reads off the matches of pairs: double softmax, mutual choice. The rules are those of assignment.py.
#pragma once
#include <functional>
#include <vector>

#include "kernels.hpp"
#include "pack.hpp"
#include "team.hpp"
#include "workspace.hpp"

namespace photoglue {

struct Assigner {
  const Kernels& kernels;     // for floats
  const Linear& projection;   // to descriptors whose products are similarities to the base 2
  const float* matchability;  // weight and bias
  Assignment& work;
  Team& team;
  std::function<void*(int thread)> scratch;

  // Calls found(pair, point of image 0, point of image 1, score, whether the score is above the threshold) for all
  // mutual choices.
  void assign(const float* x, const std::vector<Pair>& pairs,
              const std::function<void(const Pair&, long, long, float, bool)>& found, float threshold) const;
};

}  // namespace photoglue
