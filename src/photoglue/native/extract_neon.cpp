#include "extract.hpp"

#if defined(__aarch64__)
#include "extract_kernels.hpp"

const photoglue::ExtractKernels* photoglue::extract_kernels_neon() { return &KERNELS; }
#else
const photoglue::ExtractKernels* photoglue::extract_kernels_neon() { return nullptr; }
#endif
