#include "api.hpp"

#include "cpu.hpp"
#include "pack.hpp"

#ifndef PHOTOGLUE_SOURCES
#define PHOTOGLUE_SOURCES ""
#endif

const char* photoglue_sources() { return PHOTOGLUE_SOURCES; }

int32_t photoglue_abi() { return PHOTOGLUE_ABI; }

const char* photoglue_instruction_set() { return photoglue::name_of(photoglue::instruction_set()); }

int32_t photoglue_linear(int32_t int16, const float* x, int64_t rows, const float* weights, const float* bias,
                         int32_t outputs, int32_t inputs, float* out) {
  const photoglue::Kernels* kernels = photoglue::kernels(int16 != 0);
  if (!kernels || inputs % 32 || outputs % 32 || inputs > 512 || outputs > 768) return 1;
  const auto packed = photoglue::pack_linear(*kernels, weights, inputs, bias, outputs, inputs);
  photoglue::Buffer<std::byte> scratch;
  kernels->linear(x, static_cast<int>(rows), packed->layer, out, scratch.room(kernels->scratch));
  return 0;
}
