#include "kernels.hpp"

#include "cpu.hpp"

const photoglue::Kernels* photoglue::kernels(bool int16) {
  switch (instruction_set()) {
    case InstructionSet::avx512_vnni: return kernels_avx512vnni(int16);
    case InstructionSet::avx_vnni: return kernels_avxvnni(int16);
    case InstructionSet::avx2: return kernels_avx2(int16);
    default: return nullptr;
  }
}
