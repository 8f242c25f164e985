// Functions of vectors. Polynomials: least largest error, fitted for these ranges.
#pragma once
// Included after one of the files that define vectors.

namespace {

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

}  // namespace
