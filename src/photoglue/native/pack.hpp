// Weights as the kernels want them.
#pragma once
#include <memory>

#include "buffer.hpp"
#include "kernels.hpp"

namespace photoglue {

// Owns what a Linear points to.
struct PackedLinear {
  Buffer<int32_t> words;
  Buffer<float> scale, bias;
  Linear layer{};
};

// Packs outputs × inputs weights, of which a row is `stride` floats from the next, for the kernels of a table. As int16,
// each row has a scale, see MAX_NORM. No bias: null.
std::unique_ptr<PackedLinear> pack_linear(const Kernels& kernels, const float* weights, long stride, const float* bias,
                                          int outputs, int inputs);

// Rows of floats as panels of columns, zeros after the last row; `panels` has room for whole panels.
void pack_columns(const float* rows, long count, int width, int panel, int32_t* panels);

}  // namespace photoglue
