// Functions of vectors. Polynomials: least largest error, fitted for these ranges.
#pragma once
// Included after one of the files that define vectors.

#include <utility>

#if defined(__clang__)
#define PHOTOGLUE_SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PHOTOGLUE_SHUFFLED(a, b, ...) __builtin_shuffle(a, b, Int{__VA_ARGS__})
#endif

namespace {

// Of all rows whose number lacks the bit Size, and those that have it: blocks of Size lanes change places.
template <int Size, int... Lane>
PHOTOGLUE_INLINE void exchange_lanes(Int* rows, std::integer_sequence<int, Lane...>) {
  for (int i = 0; i < LANES; ++i) {
    if (i & Size) continue;
    const Int a = rows[i], b = rows[i + Size];
    rows[i] = PHOTOGLUE_SHUFFLED(a, b, (Lane & Size ? LANES + (Lane ^ Size) : Lane)...);
    rows[i + Size] = PHOTOGLUE_SHUFFLED(a, b, (Lane & Size ? LANES + Lane : Lane ^ Size)...);
  }
}

// 2^x for x ≤ 127; 0 for very negative ones. Exact: to 1e-7 of the value, otherwise to 1e-4 of it.
template <bool Exact>
PHOTOGLUE_INLINE Float exp2_of(Float x) {
  const Float r = fraction_of(x);
  Float y;
  if constexpr (Exact) {
    y = fma(all(0.00187757594f), r, all(0.00898934187f));
    y = fma(y, r, all(0.0558263166f));
    y = fma(y, r, all(0.240153618f));
    y = fma(y, r, all(0.693153073f));
    y = fma(y, r, all(0.999999925f));
  } else {
    y = fma(all(0.0780244585f), r, all(0.226067247f));
    y = fma(y, r, all(0.695833509f));
    y = fma(y, r, all(0.99992522f));
  }
  return scaled_exp2(y, x);
}

// x · Φ(x) to 2e-7: log2 Φ(-|x|) is nearly a parabola, and what lies beyond 6 does not count.
PHOTOGLUE_INLINE Float gelu(Float x) {
  const Float z = smaller(magnitude(x), all(6.f));
  Float y = fma(all(2.90430931e-05f), z, all(-0.000732328404f));
  y = fma(y, z, all(0.00795380119f));
  y = fma(y, z, all(-0.0532051311f));
  y = fma(y, z, all(-0.45893481f));
  y = fma(y, z, all(-1.15114495f));
  y = fma(y, z, all(-0.999999096f));
  const Float tail = mul(exp2_of<true>(y), x);
  return where_negative(x, tail, sub(x, tail));
}

// A block of LANES × LANES words, turned about its diagonal.
template <int Size = 1>
PHOTOGLUE_INLINE void exchange(Int* rows) {
  if constexpr (Size < LANES) {
    exchange_lanes<Size>(rows, std::make_integer_sequence<int, LANES>());
    exchange<2 * Size>(rows);
  }
}
PHOTOGLUE_INLINE void transpose(const int32_t* from, long from_stride, int32_t* to, long to_stride) {
  Int rows[LANES];
  for (int i = 0; i < LANES; ++i) rows[i] = load(from + i * from_stride);
  exchange(rows);
  for (int i = 0; i < LANES; ++i) store(to + i * to_stride, rows[i]);
}

}  // namespace
