// Vectors as wide as the instruction set that a file is compiled for, in the language that GCC and Clang share.
// Everything here has internal linkage: each file of kernels has its own copy, in its own instructions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX2__)
constexpr int LANES = 8, REGISTERS = 16;
#else
constexpr int LANES = 4, REGISTERS = 32;
#endif

typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef int32_t IntVec __attribute__((vector_size(4 * LANES)));
constexpr int FEW = 8;  // channels, the least that a map has
typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef float LooseVec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const LooseVec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<LooseVec*>(p) = v; }
inline Vec all(float x) { return x - Vec{}; }
// larger, lesser: of each pair of numbers; above: a bit for each, set where a is greater than b.
#if defined(__AVX512F__)
inline Vec larger(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec lesser(Vec a, Vec b) { return _mm512_min_ps(a, b); }
inline unsigned above(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
#elif defined(__AVX2__)
inline Vec larger(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec lesser(Vec a, Vec b) { return _mm256_min_ps(a, b); }
inline unsigned above(Vec a, Vec b) { return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ))); }
#else
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }
inline Vec lesser(Vec a, Vec b) { return a < b ? a : b; }
inline unsigned above(Vec a, Vec b) {
  unsigned bits = 0;
  for (int i = 0; i < LANES; ++i) bits |= static_cast<unsigned>(a[i] > b[i]) << i;
  return bits;
}
#endif

inline float sum_of(Vec v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps(v);
#else
  float parts[LANES];
  store(parts, v);
  for (int n = LANES / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) parts[i] += parts[i + n];
  return parts[0];
#endif
}

inline Eight& eight(float* p) { return *reinterpret_cast<Eight*>(p); }
inline const Eight& eight(const float* p) { return *reinterpret_cast<const Eight*>(p); }

inline Vec as_float(IntVec v) { return reinterpret_cast<Vec>(v); }
inline IntVec as_int(Vec v) { return reinterpret_cast<IntVec>(v); }

// 2 to the power of x, good to 2e-7, for x in [-126, 126]: of the fraction by a polynomial, then shifted by the rest.
inline Vec exp2(Vec x) {
  const float shift = 12582912.0f;  // 1.5 times 2^23: adding it rounds to a whole number, which the low bits then hold
  const Vec shifted = x + shift;
  const Vec f = x - (shifted - shift);
  Vec p = f * 1.3276457e-3f + 9.6755412e-3f;
  p = p * f + 5.5507133e-2f;
  p = p * f + 2.4022120e-1f;
  p = p * f + 6.9314697e-1f;
  p = p * f + 1.0f;
  return as_float(as_int(p) + (as_int(shifted) << 23));
}

constexpr float LOG2_E = 1.44269504088896341f;

constexpr float SELU_SCALE = 1.0507009873554805f, SELU_BELOW = 1.0507009873554805f * 1.6732632423543772f;

#if defined(__AVX512F__)
// SELU_BELOW times 2 to the power of i / 32, less i at the place to which exp's whole number of 32nds is shifted.
struct Powers {
  alignas(64) int32_t bits[32];
  constexpr Powers() : bits() {
    double power = SELU_BELOW;
    for (int i = 0; i < 32; ++i, power *= 1.0218971486541166) bits[i] = __builtin_bit_cast(int32_t, static_cast<float>(power)) - (i << 18);
  }
};
constexpr Powers POWERS;

// The exponential is that of the nearest 32nd of a power of 2, from a table in two registers, times a parabola.
inline Vec selu(Vec x) {
  constexpr float shift = 12582912.0f, ln2 = 0.693147180559945f;
  const Vec bounded = larger(x, all(-87.0f)), shifted = bounded * (32 * LOG2_E) + shift;
  const Vec f = bounded - (shifted - shift) * (ln2 / 32);
  const __m512i whole = _mm512_castps_si512(shifted);  // of a large x it is anything, and so is what follows from it
  const __m512i entry = _mm512_permutex2var_epi32(_mm512_load_si512(POWERS.bits), whole, _mm512_load_si512(POWERS.bits + 16));
  const Vec power = _mm512_castsi512_ps(_mm512_add_epi32(entry, _mm512_slli_epi32(whole, 18)));
  const Vec below = power * ((f * 0.5f + 1.0000147f) * f + 1.0f) - SELU_BELOW;
  return _mm512_mask_mul_ps(below, static_cast<__mmask16>(above(x, Vec{})), x, all(SELU_SCALE));
}
#else
inline Vec selu(Vec x) {
  const Vec below = exp2(larger(lesser(x, Vec{}) * LOG2_E, all(-126.0f))) * SELU_BELOW - SELU_BELOW;
  return larger(x, Vec{}) * SELU_SCALE + below;
}
#endif

// Between two pixels and those `down` from them: u of the way to the right one, v of the way down.
inline Vec between(const float* left, const float* right, ptrdiff_t down, float u, float v) {
  const Vec above = load(left) + (load(right) - load(left)) * u;
  const Vec below = load(left + down) + (load(right + down) - load(left + down)) * u;
  return above + (below - above) * v;
}

inline int least(int a, int b) { return a < b ? a : b; }

// Floats that begin with a cache line: a vector across two lines takes twice as long.
class Buffer {
 public:
  explicit Buffer(size_t count) : floats(static_cast<float*>(::operator new[](count * sizeof(float), LINE))) {}
  ~Buffer() { ::operator delete[](floats, LINE); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  float* get() const { return floats; }

 private:
  static constexpr std::align_val_t LINE{64};
  float* floats;
};

enum class Gate { none, relu, selu };

template <Gate G>
inline Vec gated(Vec x) {
  if constexpr (G == Gate::relu) return larger(x, Vec{});
  if constexpr (G == Gate::selu) return selu(x);
  return x;
}

}  // namespace
