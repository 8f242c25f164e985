// Compiled for AVX2, see build.py.
#include "kernels.hpp"

#if defined(__AVX2__)
#include "simd_avx2.hpp"

#include "table.hpp"

const photoglue::Kernels* photoglue::kernels_avx2(bool int16) { return int16 ? &TABLE<Int16> : &TABLE<Float32>; }
#else
const photoglue::Kernels* photoglue::kernels_avx2(bool) { return nullptr; }
#endif
