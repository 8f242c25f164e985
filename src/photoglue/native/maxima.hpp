// Non-maximum suppression: local maxima, then those of what lies outside the windows of the points found so far.
#pragma once
#include "extract.hpp"
#include "vector.hpp"

namespace {

using photoglue::Maxima;

constexpr float LOWEST = -__FLT_MAX__ * 2;  // minus infinity

// The maximum over windows of 2 * radius + 1 pixels to each side, for rows that lie `stride` apart with `radius` pixels
// of padding on the left and on the right; the padding holds the least value.
inline void window_maximum(const float* maps, int height, int width, int stride, int radius, float* across, float* out) {
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; x += LANES) {
      const float* from = maps + static_cast<size_t>(y) * stride + x;
      Vec most = load(from);
      for (int i = 1; i <= 2 * radius; ++i) most = larger(most, load(from + i));
      store(across + static_cast<size_t>(y) * stride + radius + x, most);
    }
  for (int y = 0; y < height; ++y) {
    const int top = y < radius ? 0 : y - radius, bottom = least(y + radius, height - 1);
    for (int x = 0; x < width; x += LANES) {
      Vec most = load(across + static_cast<size_t>(top) * stride + radius + x);
      for (int i = top + 1; i <= bottom; ++i) most = larger(most, load(across + static_cast<size_t>(i) * stride + radius + x));
      store(out + static_cast<size_t>(y) * stride + radius + x, most);
    }
  }
}

// Rows first ... last, from all rows that can matter to them: two windows a round, and the first.
inline void maxima_strip(const Maxima& m, int first, int last) {
  const int reach = m.radius * (2 * m.rounds + 1), top = first < reach ? 0 : first - reach, bottom = least(last + reach, m.height);
  const int height = bottom - top, stride = (m.width + LANES - 1) / LANES * LANES + 2 * m.radius;
  const size_t size = static_cast<size_t>(height) * stride + LANES;
  Buffer scores(size), rest(size), found(size), covered(size), across(size), most(size);
  const auto each = [&](auto step) {
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < m.width; x += LANES) step(static_cast<size_t>(y) * stride + m.radius + x);
  };
  const auto trim = [&](float* maps) {  // what whole vectors wrote beyond the last pixel
    for (int y = 0; y < height; ++y)
      for (int x = m.radius + m.width; x < stride; ++x) maps[static_cast<size_t>(y) * stride + x] = LOWEST;
  };
  for (size_t i = 0; i < size; ++i) scores.get()[i] = rest.get()[i] = found.get()[i] = LOWEST;
  for (int y = 0; y < height; ++y)
    std::memcpy(scores.get() + static_cast<size_t>(y) * stride + m.radius, m.scores + static_cast<size_t>(top + y) * m.width,
                m.width * sizeof(float));
  window_maximum(scores.get(), height, m.width, stride, m.radius, across.get(), most.get());
  each([&](size_t i) { store(found.get() + i, load(scores.get() + i) == load(most.get() + i) ? all(1.0f) : Vec{}); });
  for (int round = 0; round < m.rounds; ++round) {
    trim(found.get());
    window_maximum(found.get(), height, m.width, stride, m.radius, across.get(), covered.get());
    each([&](size_t i) { store(rest.get() + i, load(covered.get() + i) > 0.0f ? Vec{} : load(scores.get() + i)); });
    trim(rest.get());
    window_maximum(rest.get(), height, m.width, stride, m.radius, across.get(), most.get());
    each([&](size_t i) {
      const Vec before = load(found.get() + i), now = load(covered.get() + i) > 0.0f ? before : all(1.0f);
      store(found.get() + i, load(rest.get() + i) == load(most.get() + i) ? now : before);
    });
  }
  for (int y = first; y < last; ++y)
    for (int x = 0; x < m.width; ++x)
      m.found[static_cast<size_t>(y) * m.width + x] = found.get()[static_cast<size_t>(y - top) * stride + m.radius + x] > 0.0f;
}

inline void maxima(const Maxima& m, int first, int last) {
  constexpr int STRIP = 64;  // rows: 2 MB of them
  for (int y = first; y < last; y += STRIP) maxima_strip(m, y, least(y + STRIP, last));
}

}  // namespace
