#include "extract.hpp"

#if defined(__AVX2__)
#include "extract_kernels.hpp"

const photoglue::ExtractKernels* photoglue::extract_kernels_avx2() { return &KERNELS; }
#else
const photoglue::ExtractKernels* photoglue::extract_kernels_avx2() { return nullptr; }
#endif
