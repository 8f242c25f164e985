// Deformable convolution of 3 x 3 (arXiv:1703.06211): where each of the nine taps looks is a convolution of the map itself.
#pragma once
#include "conv.hpp"
#include "extract.hpp"

namespace {

using photoglue::Deform;

// The map at a point between its pixels; zero outside.
inline void sample_map(const Deform& d, float y, float x, float* out) {
  const auto bounded = [](float v, int most) { return v < -1 ? -1.0f : v > static_cast<float>(most) ? static_cast<float>(most) : v; };
  const float v = bounded(y, d.height) + 1, u = bounded(x, d.width) + 1;  // in a map with a pixel of zeros around
  const int top = static_cast<int>(v) - 1, left = static_cast<int>(u) - 1;
  const float below = v - static_cast<float>(top + 1), right = u - static_cast<float>(left + 1);
  const float shares[4] = {(1 - below) * (1 - right), (1 - below) * right, below * (1 - right), below * right};
  const float* corner = d.maps + (static_cast<ptrdiff_t>(top) * d.width + left) * d.inputs;
  const ptrdiff_t down = static_cast<ptrdiff_t>(d.width) * d.inputs;
  if (top >= 0 && left >= 0 && top + 1 < d.height && left + 1 < d.width) {
    for (int c = 0; c < d.inputs; c += LANES)
      store(out + c, load(corner + c) * shares[0] + load(corner + d.inputs + c) * shares[1] + load(corner + down + c) * shares[2] +
                         load(corner + down + d.inputs + c) * shares[3]);
    return;
  }
  std::memset(out, 0, d.inputs * sizeof(float));
  for (int i = 0; i < 4; ++i) {
    const int row = top + i / 2, column = left + i % 2;
    if (row < 0 || row >= d.height || column < 0 || column >= d.width) continue;
    const float* pixel = d.maps + (static_cast<size_t>(row) * d.width + column) * d.inputs;
    for (int c = 0; c < d.inputs; c += LANES) store(out + c, load(out + c) + load(pixel + c) * shares[i]);
  }
}

constexpr int DISPLACEMENTS = 32;  // 18 numbers and what fills them up to a multiple of 16

// Rows 4 * first ... 4 * last.
inline void deform(const Deform& d, int first, int last) {
  const size_t row_in = static_cast<size_t>(d.width) * d.inputs;
  const auto given = [&](int y, int count, float* const* rows) {
    for (int r = 0; r < count; ++r)
      if (y + r >= 0 && y + r < d.height) std::memcpy(rows[r], d.maps + (y + r) * row_in, row_in * sizeof(float));
  };
  Descent<4, Gate::none, decltype(given)> offsets({d.inputs, DISPLACEMENTS, d.offset_weights, d.offset_bias}, d.height, d.width,
                                                 4 * first, given);
  constexpr int SOME = 48;
  const int depth = 9 * d.inputs;
  const float limit = static_cast<float>(d.height > d.width ? d.height : d.width) / 4;
  Buffer moves(4 * static_cast<size_t>(d.width) * DISPLACEMENTS), seen(static_cast<size_t>(SOME) * depth);
  for (int group = first; group < last; ++group) {
    float* rows[4];
    for (int r = 0; r < 4; ++r) rows[r] = moves.get() + static_cast<size_t>(r) * d.width * DISPLACEMENTS;
    offsets.next(rows);
    for (int r = 0; r < 4 && 4 * group + r < d.height; ++r)
      for (int x = 0; x < d.width; x += SOME) {
        const int y = 4 * group + r, count = least(SOME, d.width - x);
        for (int i = 0; i < count; ++i)
          for (int t = 0; t < 9; ++t) {
            const float* move = rows[r] + static_cast<size_t>(x + i) * DISPLACEMENTS + 2 * t;
            const auto limited = [&](float v) { return v < -limit ? -limit : v > limit ? limit : v; };
            sample_map(d, static_cast<float>(y + t / 3 - 1) + limited(move[0]), static_cast<float>(x + i + t % 3 - 1) + limited(move[1]),
                       seen.get() + static_cast<size_t>(i) * depth + t * d.inputs);
          }
        const size_t at = (static_cast<size_t>(y) * d.width + x) * d.outputs, size = static_cast<size_t>(count) * d.outputs;
        product(count, seen.get(), depth, depth, d.weights, d.outputs, d.bias, d.result + at, d.outputs);
        for (size_t i = 0; i < size; i += LANES) {
          Vec v = load(d.result + at + i);
          if (d.add) v += load(d.add + at + i);
          store(d.result + at + i, selu(v));
        }
      }
  }
}

}  // namespace
