// Vectors of AVX2 with FMA, in the words that the kernels are written in; with AVX-VNNI where it is compiled for.
#pragma once
#include <immintrin.h>

#include <cstdint>

#define PHOTOGLUE_INLINE static inline __attribute__((always_inline))
#define PHOTOGLUE_INLINE_MEMBER static inline __attribute__((always_inline))

namespace {

using Float = __m256;
typedef int32_t Int __attribute__((vector_size(32)));  // not __m256i, see simd_avx512.hpp
constexpr int LANES = 8;
constexpr int TILE_ROWS = 6;  // 12 sums, two vectors of the panel, a row's word, a product: all of 16 registers

PHOTOGLUE_INLINE Float load(const float* p) { return _mm256_loadu_ps(p); }
PHOTOGLUE_INLINE void store(float* p, Float x) { _mm256_storeu_ps(p, x); }
PHOTOGLUE_INLINE Float all(float x) { return _mm256_set1_ps(x); }
PHOTOGLUE_INLINE Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
PHOTOGLUE_INLINE Float sub(Float a, Float b) { return _mm256_sub_ps(a, b); }
PHOTOGLUE_INLINE Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
PHOTOGLUE_INLINE Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
PHOTOGLUE_INLINE Float larger(Float a, Float b) { return _mm256_max_ps(a, b); }
PHOTOGLUE_INLINE Float smaller(Float a, Float b) { return _mm256_min_ps(a, b); }
PHOTOGLUE_INLINE Float magnitude(Float a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.f), a); }
PHOTOGLUE_INLINE Float where_negative(Float test, Float then, Float otherwise) {
  return _mm256_blendv_ps(otherwise, then, test);
}
PHOTOGLUE_INLINE float sum_of(Float a) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
PHOTOGLUE_INLINE float largest_of(Float a) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

// Where a > b, `then`, elsewhere `otherwise`.
PHOTOGLUE_INLINE Float where_larger(Float a, Float b, Float then, Float otherwise) {
  return _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

PHOTOGLUE_INLINE Int load(const int32_t* p) { return (Int)_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
PHOTOGLUE_INLINE void store(int32_t* p, Int x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)x); }
PHOTOGLUE_INLINE Int all(int32_t x) { return (Int)_mm256_set1_epi32(x); }
PHOTOGLUE_INLINE Int rounded(Float x) { return (Int)_mm256_cvtps_epi32(x); }
PHOTOGLUE_INLINE Float to_float(Int x) { return _mm256_cvtepi32_ps((__m256i)x); }
PHOTOGLUE_INLINE Int bits(Float x) { return (Int)_mm256_castps_si256(x); }
PHOTOGLUE_INLINE Float floats(Int x) { return _mm256_castsi256_ps((__m256i)x); }

// sums + the products of both halves of each word
PHOTOGLUE_INLINE Int dot(Int sums, Int a, Int b) {
#if defined(__AVXVNNI__)
  return (Int)_mm256_dpwssd_avx_epi32((__m256i)sums, (__m256i)a, (__m256i)b);
#else
  return (Int)_mm256_add_epi32((__m256i)sums, _mm256_madd_epi16((__m256i)a, (__m256i)b));
#endif
}

// 2 · LANES numbers as int16, in an order of words that `place_of_pair` tells.
PHOTOGLUE_INLINE Int packed(Int low, Int high) { return (Int)_mm256_packs_epi32((__m256i)low, (__m256i)high); }
PHOTOGLUE_INLINE constexpr int place_of_pair(int pair) {
  return pair < LANES / 2 ? pair / 2 * 4 + pair % 2 : (pair - LANES / 2) / 2 * 4 + 2 + pair % 2;
}
// LANES numbers as int16, in their order.
PHOTOGLUE_INLINE void store_narrow(int16_t* p, Int x) {
  const __m256i both = _mm256_packs_epi32((__m256i)x, (__m256i)x);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(_mm256_permute4x64_epi64(both, 0x08)));
}
// Words of two int16: of a in the lower half, of b in the upper one.
PHOTOGLUE_INLINE Int interleaved(Int a, Int b) {
  return (Int)_mm256_blend_epi16((__m256i)a, _mm256_slli_epi32((__m256i)b, 16), 0xaa);
}

// x = whole + fraction_of(x), and 2^whole · y for that whole; 0 for very negative x.
PHOTOGLUE_INLINE Float fraction_of(Float x) {
  return sub(x, _mm256_floor_ps(x));
}
PHOTOGLUE_INLINE Float scaled_exp2(Float y, Float x) {
  const __m256i whole = _mm256_cvtps_epi32(_mm256_floor_ps(larger(x, all(-127.f))));
  return mul(y, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(whole, _mm256_set1_epi32(127)), 23)));
}

}  // namespace
