#include "extract.hpp"

#if defined(__AVX512F__)
#include "extract_kernels.hpp"

const photoglue::ExtractKernels* photoglue::extract_kernels_avx512() { return &KERNELS; }
#else
const photoglue::ExtractKernels* photoglue::extract_kernels_avx512() { return nullptr; }
#endif
