// Compiled for AVX-VNNI, see build.py.
#include "kernels.hpp"

#if defined(__AVXVNNI__)
#include "simd_avx2.hpp"

#include "table.hpp"

const photoglue::Kernels* photoglue::kernels_avxvnni(bool int16) { return int16 ? &TABLE<Int16> : &TABLE<Float32>; }
#else
const photoglue::Kernels* photoglue::kernels_avxvnni(bool) { return nullptr; }
#endif
