// What ALIKED computes at full and at half size: blocks 1 and 2, and the score head. A few rows at a time, so that what
// lies between two layers stays in the cache of a core. Maps have their channels side by side.
#pragma once
#include "conv.hpp"
#include "extract.hpp"
#include "opening.hpp"

namespace {

using photoglue::FirstBlock;
using photoglue::ScoreHead;
using photoglue::SecondBlock;

// The last three rows of each plane that were asked for, padded by repeating the edges, then by one pixel of zeros.
class PaddedPlanes {
 public:
  explicit PaddedPlanes(const FirstBlock& b) : block(b), stride(static_cast<size_t>(b.width) + 2), memory(9 * stride) {
    std::memset(memory.get(), 0, 9 * stride * sizeof(float));
  }
  const float* row(int plane, int y) {
    const int slot = plane * 3 + (y + 3) % 3;
    float* to = memory.get() + slot * stride;
    if (held[slot] == y) return to;
    held[slot] = y;
    if (y < 0 || y >= block.height) {
      std::memset(to, 0, stride * sizeof(float));
      return to;
    }
    const int wide = block.image_size[0], left = block.corner[0], high = block.image_size[1], inner = y - block.corner[1];
    const float* from = block.planes[plane] + static_cast<size_t>(inner < 0 ? 0 : least(inner, high - 1)) * wide;
    for (int x = 0; x < left; ++x) to[1 + x] = from[0];
    std::memcpy(to + 1 + left, from, wide * sizeof(float));
    for (int x = left + wide; x < block.width; ++x) to[1 + x] = from[wide - 1];
    return to;
  }

 private:
  const FirstBlock& block;
  const size_t stride;
  Buffer memory;
  int held[9] = {-9, -9, -9, -9, -9, -9, -9, -9, -9};
};

// Rows 4 * first ... 4 * last of block 1.
inline void first_block(const FirstBlock& b, int first, int last) {
  const int c = b.channels;
  PaddedPlanes planes(b);
  const auto hidden = [&](int y, int count, float* const* rows) {
    for (int r = 0; r < count; ++r) {
      if (y + r < 0 || y + r >= b.height) continue;
      const float* taps[27];
      for (int t = 0; t < 27; ++t) taps[t] = planes.row(t / 9, y + r - 1 + t / 3 % 3) + t % 3;
      (fill_half(c) ? first_layer<Gate::selu, true> : first_layer<Gate::selu, false>)(taps, 27, b.weights1, b.bias1, c, b.width, rows[r]);
    }
  };
  Descent<4, Gate::selu, decltype(hidden)> conv({c, c, b.weights2, b.bias2}, b.height, b.width, 4 * first, hidden);
  for (int group = first; group < last; ++group) {
    float* rows[4];
    for (int r = 0; r < 4; ++r) rows[r] = b.fine + static_cast<size_t>(4 * group + r) * b.width * c;
    conv.next(rows);
    for (int r = 0; r < 2; ++r)
      pooled<false>(rows + 2 * r, 2, b.width / 2, c, b.halved + static_cast<size_t>(2 * group + r) * (b.width / 2) * c);
  }
}

// Rows 4 * first ... 4 * last of block 2.
inline void second_block(const SecondBlock& b, int first, int last) {
  const size_t row_in = static_cast<size_t>(b.width) * b.inputs, row = static_cast<size_t>(b.width) * b.outputs;
  const auto given = [&](int y, int count, float* const* rows) {
    for (int r = 0; r < count; ++r)
      if (y + r >= 0 && y + r < b.height) std::memcpy(rows[r], b.maps + (y + r) * row_in, row_in * sizeof(float));
  };
  Descent<4, Gate::selu, decltype(given)> conv1({b.inputs, b.outputs, b.weights1, b.bias1}, b.height, b.width,
                                               4 * first - 3, given);
  const auto hidden = [&](int, int count, float* const* rows) {
    float* four[4] = {};
    for (int r = 0; r < count; ++r) four[4 - count + r] = rows[r];
    conv1.next(four);
  };
  Descent<4, Gate::selu, decltype(hidden)> conv2({b.outputs, b.outputs, b.weights2, b.bias2}, b.height, b.width, 4 * first,
                                                hidden);
  Buffer shortcut(4 * row), result(4 * row);
  for (int group = first; group < last; ++group) {
    float *out[4], *add[4];
    for (int r = 0; r < 4; ++r) {
      out[r] = result.get() + r * row;
      add[r] = shortcut.get() + r * row;
      product(b.width, b.maps + (4 * group + r) * row_in, b.inputs, b.inputs, b.shortcut, b.outputs, b.shortcut_bias, add[r],
              b.outputs);
    }
    conv2.next(out, add);
    pooled<false>(out, 4, b.width / 4, b.outputs, b.pooled + static_cast<size_t>(group) * (b.width / 4) * b.outputs);
    float* reduced = b.reduced + static_cast<size_t>(4 * group) * b.width * b.quarter;
    product<Gate::selu>(4 * b.width, result.get(), b.outputs, b.outputs, b.reduction, b.quarter, nullptr, reduced, b.quarter);
  }
}

constexpr int MIXED = FEW, CHUNK = 96;  // channels of the score head's first layer; pixels at once

// A coarse map times its quarter of the first layer, upsampled along the rows; the two rows that were last asked for.
class Widened {
 public:
  Widened(const ScoreHead& head, int which)
      : head(head), which(which), height(head.heights[which]), small(head.widths[which]), mixed(static_cast<size_t>(small + 1) * MIXED),
        rows(2 * static_cast<size_t>(head.width) * MIXED) {}

  const float* row(int y) {
    float* to = rows.get() + static_cast<size_t>(y % 2) * head.width * MIXED;
    if (held[y % 2] == y) return to;
    held[y % 2] = y;
    product(small, head.coarse[which] + static_cast<size_t>(y) * small * head.quarter, head.quarter, head.quarter,
            head.mix[which + 1], MIXED, nullptr, mixed.get(), MIXED);
    const auto pixel = [](float* pixels, int x) -> Eight& { return eight(pixels + static_cast<size_t>(x) * MIXED); };
    pixel(mixed.get(), small) = pixel(mixed.get(), small - 1);
    const float scale = static_cast<float>(small - 1) / static_cast<float>(head.width - 1);
    for (int x = 0; x < head.width; ++x) {
      const float position = static_cast<float>(x) * scale;
      const int left = static_cast<int>(position);
      const float share = position - static_cast<float>(left);
      pixel(to, x) = pixel(mixed.get(), left) * (1 - share) + pixel(mixed.get(), left + 1) * share;
    }
    return to;
  }

  // The two rows between which row y of the upsampled map lies, and the share of the second.
  struct Between {
    const float *one, *other;
    float share;
  };
  Between between(int y) {
    const float position = static_cast<float>(y) * (static_cast<float>(height - 1) / static_cast<float>(head.height - 1));
    const int upper = static_cast<int>(position);
    return {row(upper), row(least(upper + 1, height - 1)), position - static_cast<float>(upper)};
  }

 private:
  const ScoreHead& head;
  const int which, height, small;
  int held[2] = {-1, -1};
  Buffer mixed, rows;
};

// A 3 x 3 convolution from planes to planes, one row of it. Planes lie one after the other, with one pixel of padding.
template <int IN, int OUT, int SIDE, Gate G>
inline void plane_conv_by(const float* const* rows, int width, const float* weights, float* out) {
  const int stride = width + 2;
  for (int begin = 0; begin < width; begin += SIDE * LANES) {
    const int x = least(begin, width - SIDE * LANES);
    Vec sums[OUT][SIDE] = {};
    for (int i = 0; i < IN; ++i)
#pragma GCC unroll 9
      for (int t = 0; t < 9; ++t) {
        Vec v[SIDE];
#pragma GCC unroll 8
        for (int h = 0; h < SIDE; ++h) v[h] = load(rows[t / 3] + i * stride + x + t % 3 + h * LANES);
#pragma GCC unroll 4
        for (int o = 0; o < OUT; ++o) {
          const Vec w = all(weights[(o * IN + i) * 9 + t]);
#pragma GCC unroll 8
          for (int h = 0; h < SIDE; ++h) sums[o][h] += v[h] * w;
        }
      }
#pragma GCC unroll 4
    for (int o = 0; o < OUT; ++o)
#pragma GCC unroll 8
      for (int h = 0; h < SIDE; ++h) store(out + o * stride + 1 + x + h * LANES, gated<G>(sums[o][h]));
  }
}

template <int IN, int OUT, Gate G>
inline void plane_conv(const float* const* rows, int width, const float* weights, float* out) {
  constexpr int MANY = (REGISTERS == 32 ? 16 : 8) / (OUT > 1 ? OUT : 2);  // as many vectors of a row as registers hold
  (width < MANY * LANES ? plane_conv_by<IN, OUT, 2, G> : plane_conv_by<IN, OUT, MANY, G>)(rows, width, weights, out);
}

// Three rows of planes, those that were last computed; zeros outside the image.
struct Planes {
  const int planes, width;
  const size_t size;
  Buffer memory;
  Planes(int planes, int width) : planes(planes), width(width), size(static_cast<size_t>(planes) * (width + 2)), memory(3 * size) {
    std::memset(memory.get(), 0, 3 * size * sizeof(float));
  }
  float* row(int y) { return memory.get() + (y + 6) % 3 * size; }
  void around(int y, const float** rows) {
    for (int r = 0; r < 3; ++r) rows[r] = row(y - 1 + r);
  }
  void clear(int y) { std::memset(row(y), 0, size * sizeof(float)); }
};

// Eight pixels of eight channels, `stride` apart, to eight planes. Three times each two halves are shuffled into each other.
inline void to_planes(const float* pixels, int stride, float* planes, int plane_stride) {
  Eight rows[8], mixed[8];
  for (int i = 0; i < 8; ++i) rows[i] = eight(pixels + i * stride);
#pragma GCC unroll 3
  for (int round = 0; round < 3; ++round) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      mixed[2 * i] = __builtin_shufflevector(rows[i], rows[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
      mixed[2 * i + 1] = __builtin_shufflevector(rows[i], rows[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) rows[i] = mixed[i];
  }
  for (int i = 0; i < 8; ++i) eight(planes + i * plane_stride) = rows[i];
}

// Row y of the first layer, gated.
inline void mixed_row(const ScoreHead& h, Widened* const* coarse, int y, float* planes) {
  alignas(64) float hidden[CHUNK * 64], sums[CHUNK * MIXED];
  const Widened::Between a = coarse[0]->between(y), b = coarse[1]->between(y), c = coarse[2]->between(y);
  for (int x = 0; x < h.width; x += CHUNK) {
    const int count = least(CHUNK, h.width - x);
    product<Gate::selu>(count, h.fine + (static_cast<size_t>(y) * h.width + x) * h.channels, h.channels, h.channels,
                        h.fine_weights, h.quarter, nullptr, hidden, h.quarter);
    product(count, hidden, h.quarter, h.quarter, h.mix[0], MIXED, nullptr, sums, MIXED);
    for (int i = 0; i < count * MIXED; i += LANES) {
      const auto blend = [&](const Widened::Between& m) {
        return load(m.one + x * MIXED + i) * (1 - m.share) + load(m.other + x * MIXED + i) * m.share;
      };
      store(sums + i, selu(load(sums + i) + (blend(a) + (blend(b) + blend(c)))));
    }
    for (int i = 0; i < count; i += 8) to_planes(sums + i * MIXED, MIXED, planes + 1 + x + i, h.width + 2);
  }
}

// Rows first ... last of the scores.
inline void score_head(const ScoreHead& h, int first, int last) {
  Widened one(h, 0), two(h, 1), three(h, 2);
  Widened* const coarse[3] = {&one, &two, &three};
  Planes mixed(MIXED, h.width), second(4, h.width), third(4, h.width), logits(1, h.width);
  const auto inside = [&](int y) { return y >= 0 && y < h.height; };
  for (int y = first - 3; y < last + 3; ++y) {
    const float* rows[3];
    if (inside(y)) {
      mixed_row(h, coarse, y, mixed.row(y));
    } else {
      mixed.clear(y);
    }
    if (y - 1 >= first - 2) {
      mixed.around(y - 1, rows);
      if (inside(y - 1)) plane_conv<MIXED, 4, Gate::selu>(rows, h.width, h.convs[0], second.row(y - 1));
      else second.clear(y - 1);
    }
    if (y - 2 >= first - 1) {
      second.around(y - 2, rows);
      if (inside(y - 2)) plane_conv<4, 4, Gate::selu>(rows, h.width, h.convs[1], third.row(y - 2));
      else third.clear(y - 2);
    }
    if (y - 3 < first) continue;
    third.around(y - 3, rows);
    plane_conv<4, 1, Gate::none>(rows, h.width, h.convs[2], logits.row(0));
    for (int x = 0; x < h.width; x += LANES) {
      const Vec e = exp2(lesser(larger(load(logits.row(0) + 1 + x) * -LOG2_E, all(-126.0f)), all(126.0f)));
      store(h.scores + static_cast<size_t>(y - 3) * h.width + x, 1.0f / (1.0f + e));
    }
  }
}

}  // namespace
