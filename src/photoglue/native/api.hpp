// The C interface of the library. Whoever changes it changes PHOTOGLUE_ABI and library.py's ABI.
#pragma once
#include <cstdint>

#if defined(_WIN32)
#define PHOTOGLUE_EXPORT extern "C" __declspec(dllexport)
#else
#define PHOTOGLUE_EXPORT extern "C" __attribute__((visibility("default")))
#endif

#define PHOTOGLUE_ABI 1

// The number of this interface.
PHOTOGLUE_EXPORT int32_t photoglue_abi();

// The digest of the sources that the library was built from.
PHOTOGLUE_EXPORT const char* photoglue_sources();

// The instruction set that the kernels use here, "" if there are none for this processor.
PHOTOGLUE_EXPORT const char* photoglue_instruction_set();
