// Compiled for AVX-512 with VNNI, see build.py.
#include "kernels.hpp"

#if defined(__AVX512VNNI__)
#include "simd_avx512.hpp"

#include "table.hpp"

const photoglue::Kernels* photoglue::kernels_avx512vnni(bool int16) { return int16 ? &TABLE<Int16> : &TABLE<Float32>; }
#else
const photoglue::Kernels* photoglue::kernels_avx512vnni(bool) { return nullptr; }
#endif
