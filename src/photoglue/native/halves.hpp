// Pixels of 8 channels where a vector has 16 numbers: it holds two pixels. What takes HALVES is what it says if that is
// true, which it is in files of such vectors alone; otherwise vectors are parts of one pixel.
#pragma once
#include "vector.hpp"

namespace {

inline constexpr bool fill_half(int channels) { return LANES == 2 * FEW && channels == FEW; }

// Two pixels whose numbers begin at p and at p + apart. Stored to one place, the first stays.
template <bool HALVES>
inline Vec load(const float* p, ptrdiff_t) { return load(p); }
template <bool HALVES>
inline void store(float* p, ptrdiff_t, Vec v) { store(p, v); }

// p[0] for the even numbers, p[1] for the odd ones.
template <bool HALVES>
inline Vec spread(const float* p) { return all(*p); }

// Of each channel of a pixel two.
template <bool HALVES>
inline Vec doubled(const float* p) { return load(p); }

// The even numbers, then the odd ones.
template <bool HALVES>
inline Vec parted(Vec v) { return v; }

// The sums of even numbers and the odd ones beside them, of one and of the other.
template <bool HALVES>
inline Vec folded(Vec one, Vec) { return one; }

#if defined(__AVX512F__)
typedef double LooseDouble __attribute__((aligned(4), may_alias));

template <>
inline Vec load<true>(const float* p, ptrdiff_t apart) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(p)), _mm256_loadu_ps(p + apart), 1);
}
template <>
inline void store<true>(float* p, ptrdiff_t apart, Vec v) {
  _mm256_storeu_ps(p + apart, _mm512_extractf32x8_ps(v, 1));
  _mm256_storeu_ps(p, _mm512_castps512_ps256(v));
}
template <>
inline Vec spread<true>(const float* p) { return _mm512_castpd_ps(_mm512_set1_pd(*reinterpret_cast<const LooseDouble*>(p))); }
template <>
inline Vec doubled<true>(const float* p) {
  const Vec v = load<true>(p, 0);
  return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}
template <>
inline Vec parted<true>(Vec v) { return __builtin_shufflevector(v, v, 0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15); }
template <>
inline Vec folded<true>(Vec one, Vec other) {
  return __builtin_shufflevector(one, other, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
         __builtin_shufflevector(one, other, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}
#endif

}  // namespace
