// Convolutions of a VGG, each with its ReLU, as SuperPoint has them; and products of single pixels.
#pragma once
#include "conv.hpp"
#include "extract.hpp"
#include "opening.hpp"

namespace {

using photoglue::Conv;
using photoglue::Opening;
using photoglue::Pointwise;

// Runs a convolution down the rows 4 * first ... 4 * last of a map and keeps its result, or the maxima of that over
// 2 x 2 pixels.
template <class Descending>
inline void keep_rows(Descending& conv, int first, int last, bool halved, float* result) {
  const int height = conv.height, width = conv.width, channels = conv.kernel.outputs;
  const size_t row = static_cast<size_t>(width) * channels, small = static_cast<size_t>(width / 2) * channels;
  Buffer memory(halved ? 4 * row : 1);
  for (int group = first; group < last; ++group) {
    float* rows[4];
    for (int r = 0; r < 4; ++r) {
      const int y = 4 * group + r;
      rows[r] = halved ? memory.get() + r * row : y < height ? result + y * row : nullptr;
    }
    conv.next(rows);
    for (int r = 0; halved && r < 2 && 4 * group + 2 * r + 1 < height; ++r)
      pooled<true>(rows + 2 * r, 2, width / 2, channels, result + (2 * group + r) * small);
  }
}

inline void convolve(const Conv& c, int first, int last) {
  const size_t row = static_cast<size_t>(c.width) * c.inputs;
  const auto given = [&](int y, int count, float* const* rows) {
    for (int r = 0; r < count; ++r)
      if (y + r >= 0 && y + r < c.height) std::memcpy(rows[r], c.maps + (y + r) * row, row * sizeof(float));
  };
  Descent<4, Gate::relu, decltype(given)> conv({c.inputs, c.outputs, c.weights, c.bias}, c.height, c.width, 4 * first, given);
  keep_rows(conv, first, last, c.halved != 0, c.result);
}

// The first two convolutions, of a gray image, and their maxima.
inline void opening(const Opening& o, int first, int last) {
  const auto hidden = [&](int y, int count, float* const* rows) {
    for (int r = 0; r < count; ++r) {
      if (y + r < 0 || y + r >= o.height) continue;
      const float* taps[9];
      for (int t = 0; t < 9; ++t) taps[t] = o.plane + static_cast<size_t>(y + r + t / 3) * (o.width + 2) + t % 3;
      first_layer<Gate::relu, false>(taps, 9, o.weights1, o.bias1, o.channels, o.width, rows[r]);
    }
  };
  Descent<4, Gate::relu, decltype(hidden)> conv({o.channels, o.channels, o.weights2, o.bias2}, o.height, o.width, 4 * first, hidden);
  keep_rows(conv, first, last, true, o.result);
}

// Rows 48 * first ... 48 * last.
inline void pointwise(const Pointwise& p, int first, int last) {
  constexpr int SOME = 48;
  for (int begin = SOME * first; begin < least(SOME * last, p.count); begin += SOME) {
    const int some = least(SOME, p.count - begin);
    float* to = p.result + static_cast<size_t>(begin) * p.outputs;
    (p.gated ? product<Gate::selu> : product<Gate::none>)(some, p.rows + static_cast<size_t>(begin) * p.inputs, p.inputs, p.inputs,
                                                          p.weights, p.outputs, p.bias, to, p.outputs);
  }
}

}  // namespace
