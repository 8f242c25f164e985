// Vectors of AVX-512 with VNNI, in the words that the kernels are written in.
#pragma once
#include <immintrin.h>

#include <cstdint>

#define PHOTOGLUE_INLINE static inline __attribute__((always_inline))
#define PHOTOGLUE_INLINE_MEMBER static inline __attribute__((always_inline))

namespace {

using Float = __m512;
// A vector of ints, not __m512i, which is one of long long: GCC 12 does not keep an array of those in registers.
typedef int32_t Int __attribute__((vector_size(64)));
constexpr int LANES = 16;
constexpr int TILE_ROWS = 14;  // 28 sums, two vectors of the panel, and a row's word: all of 32 registers

PHOTOGLUE_INLINE Float load(const float* p) { return _mm512_loadu_ps(p); }
PHOTOGLUE_INLINE void store(float* p, Float x) { _mm512_storeu_ps(p, x); }
PHOTOGLUE_INLINE Float all(float x) { return _mm512_set1_ps(x); }
PHOTOGLUE_INLINE Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
PHOTOGLUE_INLINE Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
PHOTOGLUE_INLINE Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
PHOTOGLUE_INLINE Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
PHOTOGLUE_INLINE Float larger(Float a, Float b) { return _mm512_max_ps(a, b); }
PHOTOGLUE_INLINE Float smaller(Float a, Float b) { return _mm512_min_ps(a, b); }
PHOTOGLUE_INLINE Float magnitude(Float a) { return _mm512_abs_ps(a); }
PHOTOGLUE_INLINE float sum_of(Float a) { return _mm512_reduce_add_ps(a); }
PHOTOGLUE_INLINE float largest_of(Float a) { return _mm512_reduce_max_ps(a); }
PHOTOGLUE_INLINE Float where_negative(Float test, Float then, Float otherwise) {
  return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(test)), otherwise, then);
}

// Where a > b, `then`, elsewhere `otherwise`.
PHOTOGLUE_INLINE Float where_larger(Float a, Float b, Float then, Float otherwise) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), otherwise, then);
}

PHOTOGLUE_INLINE Int load(const int32_t* p) { return (Int)_mm512_loadu_si512(p); }
PHOTOGLUE_INLINE void store(int32_t* p, Int x) { _mm512_storeu_si512(p, (__m512i)x); }
PHOTOGLUE_INLINE Int all(int32_t x) { return (Int)_mm512_set1_epi32(x); }
PHOTOGLUE_INLINE Int rounded(Float x) { return (Int)_mm512_cvtps_epi32(x); }
PHOTOGLUE_INLINE Float to_float(Int x) { return _mm512_cvtepi32_ps((__m512i)x); }
PHOTOGLUE_INLINE Int bits(Float x) { return (Int)_mm512_castps_si512(x); }
PHOTOGLUE_INLINE Float floats(Int x) { return _mm512_castsi512_ps((__m512i)x); }

// sums + the products of both halves of each word
PHOTOGLUE_INLINE Int dot(Int sums, Int a, Int b) { return (Int)_mm512_dpwssd_epi32((__m512i)sums, (__m512i)a, (__m512i)b); }

// 2 · LANES numbers as int16, in an order of words that `place_of_pair` tells.
PHOTOGLUE_INLINE Int packed(Int low, Int high) { return (Int)_mm512_packs_epi32((__m512i)low, (__m512i)high); }
PHOTOGLUE_INLINE constexpr int place_of_pair(int pair) {
  return pair < LANES / 2 ? pair / 2 * 4 + pair % 2 : (pair - LANES / 2) / 2 * 4 + 2 + pair % 2;
}
// LANES numbers as int16, in their order.
PHOTOGLUE_INLINE void store_narrow(int16_t* p, Int x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16((__m512i)x));
}
// Words of two int16: of a in the lower half, of b in the upper one.
PHOTOGLUE_INLINE Int interleaved(Int a, Int b) {
  return (Int)_mm512_mask_blend_epi16(0xaaaaaaaa, (__m512i)a, _mm512_slli_epi32((__m512i)b, 16));
}

// x = whole + fraction_of(x), and 2^whole · y for that whole; 0 for very negative x.
PHOTOGLUE_INLINE Float fraction_of(Float x) {
  return _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
PHOTOGLUE_INLINE Float scaled_exp2(Float y, Float x) { return _mm512_scalef_ps(y, x); }

}  // namespace
