// Non-maximum suppression: local maxima, then those of what lies outside the windows of the points found so far.
#pragma once
#include "extract.hpp"
#include "vector.hpp"

namespace {

using photoglue::Maxima;

constexpr float LOWEST = -__FLT_MAX__ * 2;  // minus infinity

// Rows first ... last, from all rows that can matter to them: two windows a round, and the first. What is not above the
// threshold is never looked at: it can neither be found nor keep what is above from being found.
inline void maxima_strip(const Maxima& m, int first, int last) {
  const int radius = m.radius, reach = radius * (2 * m.rounds + 1), top = first < reach ? 0 : first - reach, bottom = least(last + reach, m.height);
  const int height = bottom - top, stride = (m.width + LANES - 1) / LANES * LANES + 2 * radius;
  const size_t size = static_cast<size_t>(height + 2 * radius) * stride;
  Buffer rest(size + LANES), across(stride + LANES), places(size);  // rest: scores that no point covers, framed by the least value
  int32_t* const found = reinterpret_cast<int32_t*>(places.get());
  const auto line = [&](int y) { return rest.get() + static_cast<size_t>(y + radius) * stride; };
  for (int y = -radius; y < height + radius; ++y) {
    const bool inside = y >= 0 && y < height;
    if (inside) std::memcpy(line(y) + radius, m.scores + static_cast<size_t>(top + y) * m.width, m.width * sizeof(float));
    for (int x = 0; x < (inside ? radius : stride); ++x) line(y)[x] = LOWEST;
    for (int x = radius + m.width; inside && x < stride; ++x) line(y)[x] = LOWEST;
  }
  std::memset(m.found + static_cast<size_t>(first) * m.width, 0, static_cast<size_t>(last - first) * m.width);
  for (int round = 0; round <= m.rounds; ++round) {
    int count = 0;
    for (int y = 0; y < height; ++y) {
      bool prepared = false;
      for (int x = 0; x < m.width; x += LANES) {
        const Vec here = load(line(y) + radius + x);
        unsigned peaks = above(here, all(m.threshold));
        if (!peaks) continue;
        for (int i = 0; !prepared && i < stride; i += LANES) {
          Vec most = load(line(y - radius) + i);
          for (int r = 1 - radius; r <= radius; ++r) most = larger(most, load(line(y + r) + i));
          store(across.get() + i, most);
        }
        prepared = true;
        Vec most = load(across.get() + x);
        for (int i = 1; i <= 2 * radius; ++i) most = larger(most, load(across.get() + x + i));
        for (peaks &= ~above(most, here); peaks; peaks &= peaks - 1)
          found[count++] = y * stride + x + __builtin_ctz(peaks);  // of the window's first column
      }
    }
    for (int i = 0; i < count; ++i) {
      const int y = found[i] / stride, x = found[i] % stride;
      if (top + y >= first && top + y < last) m.found[static_cast<size_t>(top + y) * m.width + x] = 1;
      for (int r = -radius; round < m.rounds && r <= radius; ++r)
        for (int c = 0; c <= 2 * radius; ++c) line(y + r)[x + c] = LOWEST;
    }
  }
}

inline void maxima(const Maxima& m, int first, int last) {
  constexpr int STRIP = 128;  // rows: 1 MB of them
  for (int y = first; y < last; y += STRIP) maxima_strip(m, y, least(y + STRIP, last));
}

}  // namespace
