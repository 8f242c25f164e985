// The sparse deformable descriptor head of ALIKED (arXiv:2304.03608, Sec. III): the patch around a point says where to look,
// and what is seen there makes its descriptor. The joined map is computed at the pixels that are looked at, and nowhere else.
#pragma once
#include <cmath>

#include "conv.hpp"
#include "extract.hpp"

namespace {

using photoglue::Describe;

struct Pixel {
  int x, y;  // of the image
};

// Pixels of the joined map: rows of 4 quarters.
class JoinedPixels {
 public:
  explicit JoinedPixels(const Describe& d) : d(d) {
    for (int m = 0; m < 3; ++m) {
      steps[m][0] = static_cast<float>(d.widths[m] - 1) / static_cast<float>(d.width - 1);
      steps[m][1] = static_cast<float>(d.heights[m] - 1) / static_cast<float>(d.height - 1);
    }
  }

  void at(const Pixel* pixels, int count, float* out) const {
    constexpr int SOME = 48;
    const int q = d.quarter, dim = 4 * q;
    alignas(64) float fine[SOME * 64];
    for (int begin = 0; begin < count; begin += SOME) {
      const int some = least(SOME, count - begin);
      for (int i = 0; i < some; ++i) {
        const float* from = fine_at(pixels[begin + i]);
        for (int c = 0; c < d.channels; c += FEW) eight(fine + i * d.channels + c) = eight(from + c);
      }
      float* to = out + static_cast<size_t>(begin) * dim;
      product<Gate::selu>(some, fine, d.channels, d.channels, d.fine_weights, q, nullptr, to, dim);
      for (int i = 0; i < some; ++i)
        for (int m = 0; m < 3; ++m) coarse(m, pixels[begin + i], to + static_cast<size_t>(i) * dim + (m + 1) * q);
    }
  }

  // Asks for what a pixel needs of the two maps that do not fit in a core's cache.
  void soon(Pixel p) const {
    __builtin_prefetch(fine_at(p), 0, 2);
    const Corner corner = corner_of(0, p);
    for (int c = 0; c < d.quarter; c += 16) {
      __builtin_prefetch(corner.one + c, 0, 2), __builtin_prefetch(corner.one + corner.right + c, 0, 2);
      __builtin_prefetch(corner.other + c, 0, 2), __builtin_prefetch(corner.other + corner.right + c, 0, 2);
    }
  }

 private:
  const Describe& d;
  float steps[3][2];  // from a pixel to the next in each of the coarse maps, (x, y)

  const float* fine_at(Pixel p) const {
    return d.fine + (static_cast<size_t>(p.y + d.corner[1]) * d.width + p.x + d.corner[0]) * d.channels;
  }

  // The pixel of a coarse map up and left of another, the one below, what lies between each and its right neighbour, and
  // the shares of those on the right and below.
  struct Corner {
    const float *one, *other;
    int right;
    float u, v;
  };
  Corner corner_of(int m, Pixel p) const {
    const int w = d.widths[m], q = d.quarter;
    const float x = static_cast<float>(p.x + d.corner[0]) * steps[m][0], y = static_cast<float>(p.y + d.corner[1]) * steps[m][1];
    const int left = static_cast<int>(x), top = static_cast<int>(y);
    const float* one = d.coarse[m] + (static_cast<size_t>(top) * w + left) * q;
    return {one, one + (top + 1 < d.heights[m] ? w * q : 0), left + 1 < w ? q : 0, x - static_cast<float>(left), y - static_cast<float>(top)};
  }

  void coarse(int m, Pixel p, float* to) const {
    const Corner at = corner_of(m, p);
    for (int c = 0; c < d.quarter; c += LANES)
      store(to + c, between(at.one + c, at.one + at.right + c, at.other - at.one, at.u, at.v));
  }
};

// One over the length of a row, or of the shortest length that counts.
inline float inverse_length(const float* row, int count) {
  Vec sums = {};
  for (int c = 0; c < count; c += LANES) sums += load(row + c) * load(row + c);
  const float length = std::sqrt(sum_of(sums));
  return 1.0f / (length > 1e-12f ? length : 1e-12f);
}

inline void scale_row(float* row, int count, float factor) {
  for (int c = 0; c < count; c += LANES) store(row + c, load(row + c) * factor);
}

// The 3 x 3 pixels around the one that a point lies in, moved inside the image; on the right and at the bottom one pixel
// further than needed, as in the released code.
inline void patch_pixels(const Describe& d, const float* point, Pixel* pixels) {
  const int limits[2] = {d.image_size[0], d.image_size[1]};
  int start[2];
  for (int axis = 0; axis < 2; ++axis) {
    const int most = limits[axis] > 4 ? limits[axis] - 4 : 0, from = static_cast<int>(point[axis]) - 1;
    start[axis] = from < 0 ? 0 : least(from, most);
  }
  for (int t = 0; t < 9; ++t) pixels[t] = {least(start[0] + t % 3, limits[0] - 1), least(start[1] + t / 3, limits[1] - 1)};
}

// The four pixels around a place and its shares of them, zero for those outside the image.
inline void corners_of(const Describe& d, float x, float y, Pixel* pixels, float* shares) {
  const int width = d.image_size[0], height = d.image_size[1];
  const auto within = [](float v, int most) { return v < 0 ? 0.0f : v > static_cast<float>(most) ? static_cast<float>(most) : v; };
  const float u = within(x + 1, width + 1), v = within(y + 1, height + 1);  // in a frame of one pixel around the image
  const int left = least(static_cast<int>(u), width), top = least(static_cast<int>(v), height);
  const float right = u - static_cast<float>(left), below = v - static_cast<float>(top);
  for (int i = 0; i < 4; ++i) {
    const int column = left + i % 2 - 1, row = top + i / 2 - 1;
    const bool inside = column >= 0 && column < width && row >= 0 && row < height;
    shares[i] = inside ? (i % 2 ? right : 1 - right) * (i / 2 ? below : 1 - below) : 0.0f;
    pixels[i] = {column < 0 ? 0 : least(column, width - 1), row < 0 ? 0 : least(row, height - 1)};
  }
}

// Descriptors of the points first ... last.
inline void describe(const Describe& d, int first, int last) {
  constexpr int SOME = 24;
  const int dim = 4 * d.quarter, numbers = 2 * d.sampled;
  Buffer joined(static_cast<size_t>(SOME * 9) * dim), four(static_cast<size_t>(4 * d.sampled) * dim), hidden(SOME * numbers), moves(SOME * numbers);
  Buffer samples(static_cast<size_t>(SOME) * d.sampled * dim), seen(static_cast<size_t>(SOME) * d.sampled * dim);
  const float limit = static_cast<float>(d.image_size[0] > d.image_size[1] ? d.image_size[0] : d.image_size[1]) / 4;
  const JoinedPixels pixel(d);
  Pixel pixels[SOME * 9], around[SOME][4 * 64];
  float shares[SOME][4 * 64];
  for (int begin = first; begin < last; begin += SOME) {
    const int some = least(SOME, last - begin);
    for (int i = 0; i < some; ++i) {
      patch_pixels(d, d.points + 2 * (begin + i), pixels + 9 * i);
      for (int t = 0; t < 9; t += 4) pixel.soon(pixels[9 * i + t]);  // the diagonal
    }
    pixel.at(pixels, 9 * some, joined.get());
    for (int i = 0; i < 9 * some; ++i) {
      float* row = joined.get() + static_cast<size_t>(i) * dim;
      scale_row(row, dim, inverse_length(row, dim));
    }
    product<Gate::selu>(some, joined.get(), 9 * dim, 9 * dim, d.hidden, numbers, d.hidden_bias, hidden.get(), numbers);
    product(some, hidden.get(), numbers, numbers, d.offset, numbers, d.offset_bias, moves.get(), numbers);
    for (int i = 0; i < some; ++i) {
      const float *point = d.points + 2 * (begin + i), *move = moves.get() + i * numbers;
      const auto limited = [&](float v) { return v < -limit ? -limit : v > limit ? limit : v; };
      for (int s = 0; s < d.sampled; ++s) {
        Pixel* const corners = around[i] + 4 * s;
        corners_of(d, point[0] + limited(move[s]), point[1] + limited(move[d.sampled + s]), corners, shares[i] + 4 * s);
        pixel.soon(corners[0]), pixel.soon(corners[3]);
      }
    }
    for (int i = 0; i < some; ++i) {
      pixel.at(around[i], 4 * d.sampled, four.get());
      for (int s = 0; s < d.sampled; ++s) {
        const float* rows = four.get() + static_cast<size_t>(4 * s) * dim;
        float* to = samples.get() + (static_cast<size_t>(i) * d.sampled + s) * dim;
        float own[4];
        for (int j = 0; j < 4; ++j) own[j] = shares[i][4 * s + j] * inverse_length(rows + j * dim, dim);
        for (int c = 0; c < dim; c += LANES)
          store(to + c, load(rows + c) * own[0] + load(rows + dim + c) * own[1] + load(rows + 2 * dim + c) * own[2] +
                            load(rows + 3 * dim + c) * own[3]);
      }
    }
    product<Gate::selu>(some * d.sampled, samples.get(), dim, dim, d.samples, dim, nullptr, seen.get(), dim);
    float* out = d.descriptors + static_cast<size_t>(begin) * dim;
    product(some, seen.get(), d.sampled * dim, d.sampled * dim, d.seen, dim, nullptr, out, dim);
    for (int i = 0; i < some; ++i) scale_row(out + static_cast<size_t>(i) * dim, dim, inverse_length(out + static_cast<size_t>(i) * dim, dim));
  }
}

}  // namespace
