#include "kernels.hpp"

#include "cpu.hpp"

const photoglue::Kernels* photoglue::kernels(bool int16, int channels) {
  switch (instruction_set()) {
    case InstructionSet::amx_int8:
      if (int16 && channels % 64 == 0) return kernels_amx(true);
      [[fallthrough]];
    case InstructionSet::avx512_vnni:
      return kernels_avx512vnni(int16);
    case InstructionSet::avx_vnni:
      return kernels_avxvnni(int16);
    case InstructionSet::avx2:
      return kernels_avx2(int16);
    default:
      return nullptr;
  }
}
