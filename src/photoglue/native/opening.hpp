// The first layer of a network, and means and maxima of maps.
#pragma once
#include "conv.hpp"

namespace {

// One row of a convolution of few channels, given as pixels of planes: results[width x outputs], gated. taps: for each
// tap of the kernel where its plane's pixel for the first result is; weights: taps x outputs; width: at least 8 vectors.
template <Gate G, bool HALVES>
inline void first_layer(const float* const* taps, int count, const float* weights, const float* bias, int outputs,
                        int width, float* results) {
  constexpr int R = 8, EACH = HALVES ? 2 : 1;
  for (int c = 0; c < outputs; c += LANES)
    for (int begin = 0; begin < width; begin += R * EACH) {
      const int x = least(begin, width - R * EACH);
      Vec sums[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sums[r] = doubled<HALVES>(bias + c);
      for (int t = 0; t < count; ++t) {
        const Vec w = doubled<HALVES>(weights + static_cast<size_t>(t) * outputs + c);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) sums[r] += spread<HALVES>(taps[t] + x + r * EACH) * w;
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
        store(results + static_cast<size_t>(x + r * EACH) * outputs + c, parted<HALVES>(gated<G>(sums[r])));
    }
}

// The mean (or the maximum) over cells of side x side pixels of so many rows of a map. HALVES: at least two cells.
template <bool MAXIMUM, bool HALVES>
inline void pooled_rows(const float* const* rows, int side, int cells, int channels, float* out) {
  for (int begin = 0; begin < cells; begin += HALVES ? 2 : 1)
    for (int c = 0; c < channels; c += LANES) {
      const int x = HALVES ? least(begin, cells - 2) : begin;
      const auto at = [&](int i) {
        return load<HALVES>(rows[i / side] + (static_cast<size_t>(x) * side + i % side) * channels + c, side * channels);
      };
      Vec sum = at(0);
      for (int i = 1; i < side * side; ++i) sum = MAXIMUM ? larger(sum, at(i)) : sum + at(i);
      store(out + static_cast<size_t>(x) * channels + c, MAXIMUM ? sum : sum * (1.0f / static_cast<float>(side * side)));
    }
}

template <bool MAXIMUM>
inline void pooled(const float* const* rows, int side, int cells, int channels, float* out) {
  (fill_half(channels) ? pooled_rows<MAXIMUM, true> : pooled_rows<MAXIMUM, false>)(rows, side, cells, channels, out);
}

}  // namespace
