// Deformable convolution of 3 x 3 (arXiv:1703.06211): where each of the nine taps looks is a convolution of the map itself.
#pragma once
#include "conv.hpp"
#include "extract.hpp"

namespace {

using photoglue::Deform;

constexpr int DISPLACEMENTS = 32;  // 18 numbers and what fills them up to a multiple of 16

// Where the nine taps of a pixel look, y and x by turns: the pixel above and on the left, in a map with a pixel of zeros
// around, and the shares of the next ones.
struct Places {
  alignas(64) int32_t corner[DISPLACEMENTS];
  alignas(64) float share[DISPLACEMENTS];

  // starts: of the first pixel of the row; most: the sides of the map; limit: of displacements.
  void find(const float* moves, const float* starts, int x, const float* most, float limit) {
    for (int i = 0; i < 18; i += LANES) {
      const Vec moved = lesser(larger(load(moves + i), all(-limit)), all(limit)) + load(starts + i) + load(ODD) * static_cast<float>(x);
      const Vec place = lesser(larger(moved, all(-1)), load(most)) + 1;
      const IntVec whole = __builtin_convertvector(place, IntVec);
      *reinterpret_cast<IntVec*>(corner + i) = whole;
      store(share + i, place - __builtin_convertvector(whole, Vec));
    }
  }
  static constexpr float ODD[16] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
};

// The map at a point between its pixels; zero outside.
inline void sample_map(const Deform& d, const Places& places, int tap, float* out) {
  const int top = places.corner[2 * tap] - 1, left = places.corner[2 * tap + 1] - 1;
  const float below = places.share[2 * tap], right = places.share[2 * tap + 1];
  const float* corner = d.maps + (static_cast<ptrdiff_t>(top) * d.width + left) * d.inputs;
  if (top >= 0 && left >= 0 && top + 1 < d.height && left + 1 < d.width) {
    for (int c = 0; c < d.inputs; c += LANES)
      store(out + c, between(corner + c, corner + d.inputs + c, static_cast<ptrdiff_t>(d.width) * d.inputs, right, below));
    return;
  }
  const float shares[4] = {(1 - below) * (1 - right), (1 - below) * right, below * (1 - right), below * right};
  std::memset(out, 0, d.inputs * sizeof(float));
  for (int i = 0; i < 4; ++i) {
    const int row = top + i / 2, column = left + i % 2;
    if (row < 0 || row >= d.height || column < 0 || column >= d.width) continue;
    const float* pixel = d.maps + (static_cast<size_t>(row) * d.width + column) * d.inputs;
    for (int c = 0; c < d.inputs; c += LANES) store(out + c, load(out + c) + load(pixel + c) * shares[i]);
  }
}

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
  float starts[DISPLACEMENTS] = {}, most[LANES];
  for (int i = 0; i < LANES; ++i) most[i] = static_cast<float>(i % 2 ? d.width : d.height);
  Places places;
  Buffer moves(4 * static_cast<size_t>(d.width) * DISPLACEMENTS), seen(static_cast<size_t>(SOME) * depth);
  for (int group = first; group < last; ++group) {
    float* rows[4];
    for (int r = 0; r < 4; ++r) rows[r] = moves.get() + static_cast<size_t>(r) * d.width * DISPLACEMENTS;
    offsets.next(rows);
    for (int r = 0; r < 4 && 4 * group + r < d.height; ++r) {
      const int y = 4 * group + r;
      for (int t = 0; t < 9; ++t) starts[2 * t] = static_cast<float>(y + t / 3 - 1), starts[2 * t + 1] = static_cast<float>(t % 3 - 1);
      for (int x = 0; x < d.width; x += SOME) {
        const int count = least(SOME, d.width - x);
        for (int i = 0; i < count; ++i) {
          places.find(rows[r] + static_cast<size_t>(x + i) * DISPLACEMENTS, starts, x + i, most, limit);
          for (int t = 0; t < 9; ++t) sample_map(d, places, t, seen.get() + static_cast<size_t>(i) * depth + t * d.inputs);
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
}

}  // namespace
