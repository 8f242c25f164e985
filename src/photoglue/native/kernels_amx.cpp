// Compiled for AMX and AVX-512 with VNNI and VBMI, see build.py.
#include "kernels.hpp"

#if defined(__AMX_INT8__) && defined(__AVX512VBMI__) && defined(__linux__)
#define PHOTOGLUE_AMX
#include "simd_avx512.hpp"
#include "table.hpp"

const photoglue::Kernels* photoglue::kernels_amx(bool int16) { return int16 ? &TABLE<TiledInt16> : nullptr; }
#else
const photoglue::Kernels* photoglue::kernels_amx(bool) { return nullptr; }
#endif
