// The U-Net of DISK. Its maps lie in memory as they came from their convolutions; norms, gates, upsampling and joining
// happen to a few rows on their way to the next convolution.
#pragma once
#include "conv.hpp"
#include "extract.hpp"
#include "opening.hpp"

namespace {

using photoglue::DiskConv;
using photoglue::DiskDescribe;
using photoglue::DiskFirst;
using photoglue::DiskLogits;
using photoglue::JoinedMaps;
using photoglue::Moments;

// A row between the rows of a map of half the size.
inline void blended_row(const float* maps, int height, size_t row, int y, float* out) {
  const int near = y / 2, far = y % 2 ? least(near + 1, height - 1) : near > 0 ? near - 1 : 0;
  for (size_t i = 0; i < row; i += LANES) store(out + i, load(maps + near * row + i) * 0.75f + load(maps + far * row + i) * 0.25f);
}

inline Vec normed(Vec v, const float* factor, const float* shift, const float* slope) {
  const Vec x = v * load(factor) + load(shift);
  return larger(x, Vec{}) + lesser(x, Vec{}) * load(slope);
}

// Rows of joined maps, normalised and gated.
class JoinedRows {
 public:
  explicit JoinedRows(const JoinedMaps& maps) : m(maps), channels(m.below_channels + m.beside_channels), blended(static_cast<size_t>(m.width) * (m.below_channels + 1)) {}

  void row(int y, float* out) {
    if (m.below) below(y, out);
    for (int x = 0; x < m.width; ++x) beside(x, y, out + static_cast<size_t>(x) * channels + m.below_channels);
  }

  void pixel(int x, int y, float* out) const {
    if (m.below) {
      const int w = m.width / 2, h = m.height / 2, b = m.below_channels;
      const auto other = [](int v, int most) { return v % 2 ? least(v / 2 + 1, most - 1) : v > 1 ? v / 2 - 1 : 0; };
      const auto at = [&](int column, int line) { return m.below + (static_cast<size_t>(line) * w + column) * b; };
      const float *one = at(x / 2, y / 2), *two = at(other(x, w), y / 2), *three = at(x / 2, other(y, h)), *four = at(other(x, w), other(y, h));
      for (int c = 0; c < b; c += LANES)
        store(out + c, normed((load(one + c) * 0.75f + load(three + c) * 0.25f) * 0.75f + (load(two + c) * 0.75f + load(four + c) * 0.25f) * 0.25f,
                              m.below_factor + c, m.below_shift + c, m.slopes + c));
    }
    beside(x, y, out + m.below_channels);
  }

  const JoinedMaps& m;
  const int channels;

 private:
  void below(int y, float* out) {
    const int w = m.width / 2, b = m.below_channels;
    blended_row(m.below, m.height / 2, static_cast<size_t>(w) * b, y, blended.get());
    for (int x = 0; x < w; ++x) {
      const float* here = blended.get() + static_cast<size_t>(x) * b;
      const float *left = x > 0 ? here - b : here, *right = x + 1 < w ? here + b : here;
      float* to = out + 2 * static_cast<size_t>(x) * channels;
      for (int c = 0; c < b; c += LANES) {
        const Vec v = load(here + c) * 0.75f;
        store(to + c, normed(v + load(left + c) * 0.25f, m.below_factor + c, m.below_shift + c, m.slopes + c));
        store(to + channels + c, normed(v + load(right + c) * 0.25f, m.below_factor + c, m.below_shift + c, m.slopes + c));
      }
    }
  }

  void beside(int x, int y, float* to) const {
    const float* from = m.beside + (static_cast<size_t>(y) * m.width + x) * m.beside_channels;
    for (int c = 0; c < m.beside_channels; c += LANES)
      store(to + c, normed(load(from + c), m.beside_factor + c, m.beside_shift + c, m.slopes + m.below_channels + c));
  }
  Buffer blended;
};

// Rows 2 * first ... 2 * last of the 5 x 5 convolution of joined maps, and their means over 2 x 2 pixels.
inline void disk_conv(const DiskConv& d, int first, int last) {
  JoinedRows joined(d.maps);
  const int height = d.maps.height, width = d.maps.width;
  const auto given = [&](int y, int count, float* const* rows) {
    for (int r = 0; r < count; ++r)
      if (y + r >= 0 && y + r < height) joined.row(y + r, rows[r]);
  };
  Descent<2, Gate::none, decltype(given)> conv({joined.channels, d.outputs, d.weights, d.bias}, height, width, 2 * first, given);
  const size_t row = static_cast<size_t>(width) * d.outputs;
  for (int group = first; group < last; ++group) {
    float* rows[2] = {d.result + 2 * group * row, 2 * group + 1 < height ? d.result + (2 * group + 1) * row : nullptr};
    conv.next(rows);
    if (d.pooled) pooled<false>(rows, 2, width / 2, d.outputs, d.pooled + static_cast<size_t>(group) * (width / 2) * d.outputs);
  }
}

// Rows 2 * first ... 2 * last of the first convolution, of planes with two pixels of zeros around.
inline void disk_first(const DiskFirst& d, int first, int last) {
  const size_t row = static_cast<size_t>(d.width) * d.outputs;
  for (int group = first; group < last; ++group) {
    float* rows[2] = {d.result + 2 * group * row, d.result + (2 * group + 1) * row};
    for (int r = 0; r < 2; ++r) {
      const float* taps[75];
      for (int t = 0; t < 75; ++t)
        taps[t] = d.planes + (static_cast<size_t>(t / 25) * (d.height + 4) + 2 * group + r + t / 5 % 5) * (d.width + 4) + t % 5;
      first_layer<Gate::none, false>(taps, 75, d.weights, d.bias, d.outputs, d.width, rows[r]);
    }
    pooled<false>(rows, 2, d.width / 2, d.outputs, d.pooled + static_cast<size_t>(group) * (d.width / 2) * d.outputs);
  }
}

// Of each row and channel the mean and the mean of squared differences from it; of the map at twice its size, if wanted.
//
// A row of that has 3/4 v[i] + 1/4 v[i - 1] and 3/4 v[i] + 1/4 v[i + 1] for each v[i] of the blended row, where beyond the
// ends is the end: their mean is that of v, and the sum of their squares 5/4 of v's, plus 3/4 of the products of
// neighbours, plus 3/8 of the squares of both ends.
inline void moments(const Moments& m, int first, int last) {
  const size_t size = static_cast<size_t>(m.width) * m.channels;
  Buffer blended(m.doubled ? size : 1);
  for (int y = first; y < last; ++y) {
    const float* row = m.doubled ? blended.get() : m.maps + y * size;
    if (m.doubled) blended_row(m.maps, m.height, size, y, blended.get());
    float* out = m.result + static_cast<size_t>(y) * 2 * m.channels;
    for (int c = 0; c < m.channels; c += LANES) {
      const auto at = [&](int x) { return load(row + static_cast<size_t>(x) * m.channels + c); };
      Vec sums[4] = {}, squares[4] = {}, pairs[4] = {};
      for (int x = 0; x < m.width; ++x) sums[x % 4] += at(x);
      const Vec mean = (sums[0] + sums[1] + sums[2] + sums[3]) / static_cast<float>(m.width);
      Vec before = {};
      for (int x = 0; x < m.width; ++x) {
        const Vec away = at(x) - mean;
        squares[x % 4] += away * away;
        pairs[x % 4] += away * before;
        before = away;
      }
      const Vec ends[2] = {at(0) - mean, at(m.width - 1) - mean};
      Vec square = squares[0] + squares[1] + squares[2] + squares[3];
      if (m.doubled)
        square = (square * 1.25f + (pairs[0] + pairs[1] + pairs[2] + pairs[3]) * 0.75f + (ends[0] * ends[0] + ends[1] * ends[1]) * 0.375f) * 0.5f;
      store(out + c, mean);
      store(out + m.channels + c, square / static_cast<float>(m.width));
    }
  }
}

// Rows first ... last of the convolution with one output: each pixel times all taps, then sums where they belong.
inline void disk_logits(const DiskLogits& d, int first, int last) {
  constexpr int COLUMNS = 32;  // 25 taps, the five of a column of the kernel side by side
  JoinedRows joined(d.maps);
  const int height = d.maps.height, width = d.maps.width;
  const size_t sums_row = static_cast<size_t>(width) * 8;
  Buffer row(static_cast<size_t>(width) * joined.channels), taps(static_cast<size_t>(width + 4) * COLUMNS), sums(5 * sums_row);
  std::memset(taps.get(), 0, static_cast<size_t>(width + 4) * COLUMNS * sizeof(float));
  const auto sums_of = [&](int y) { return sums.get() + (y + 10) % 5 * sums_row; };
  for (int y = first - 2; y < last + 2; ++y) {
    float* across = sums_of(y);
    if (y < 0 || y >= height) {
      std::memset(across, 0, sums_row * sizeof(float));
    } else {
      joined.row(y, row.get());
      product(width, row.get(), joined.channels, joined.channels, d.weights, COLUMNS, nullptr, taps.get() + 2 * COLUMNS, COLUMNS);
      for (int x = 0; x < width; ++x) {
        const auto tap = [&](int i) { return *reinterpret_cast<const Eight*>(taps.get() + static_cast<size_t>(x + i) * COLUMNS + 5 * i); };
        *reinterpret_cast<Eight*>(across + static_cast<size_t>(x) * 8) = tap(0) + tap(1) + tap(2) + tap(3) + tap(4);
      }
    }
    if (y < first + 2) continue;
    float* to = d.result + static_cast<size_t>(y - 2) * width;
    const float* rows[5];
    for (int i = 0; i < 5; ++i) rows[i] = sums_of(y - 4 + i);
    for (int x = 0; x < width; ++x)
      to[x] = d.bias[0] + rows[0][8 * x] + rows[1][8 * x + 1] + rows[2][8 * x + 2] + rows[3][8 * x + 3] + rows[4][8 * x + 4];
  }
}

// Descriptors of the points first ... last, not normalised.
inline void disk_describe(const DiskDescribe& d, int first, int last) {
  constexpr int SOME = 24;
  const JoinedRows joined(d.maps);
  const int depth = 25 * joined.channels;
  Buffer seen(static_cast<size_t>(SOME) * depth);
  for (int begin = first; begin < last; begin += SOME) {
    const int some = least(SOME, last - begin);
    for (int i = 0; i < some; ++i)
      for (int t = 0; t < 25; ++t) {
        const int x = d.pixels[2 * (begin + i)] + t % 5 - 2, y = d.pixels[2 * (begin + i) + 1] + t / 5 - 2;
        float* to = seen.get() + static_cast<size_t>(i) * depth + t * joined.channels;
        if (x >= 0 && x < d.maps.width && y >= 0 && y < d.maps.height)
          joined.pixel(x, y, to);
        else
          std::memset(to, 0, joined.channels * sizeof(float));
      }
    product(some, seen.get(), depth, depth, d.weights, d.outputs, d.bias, d.result + static_cast<size_t>(begin) * d.outputs, d.outputs);
  }
}

}  // namespace
