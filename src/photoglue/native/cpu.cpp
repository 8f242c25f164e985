#include "cpu.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace photoglue {
namespace {

#if defined(__x86_64__)
bool has(uint32_t word, int bit) { return (word >> bit & 1) != 0; }

InstructionSet best() {
  uint32_t a, b, c, d;
  if (!__get_cpuid_count(1, 0, &a, &b, &c, &d) || !has(c, 27) || !has(c, 12)) return InstructionSet::none;
  uint32_t low, high;  // the registers that the operating system saves
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const bool saves_ymm = (low & 0x6) == 0x6, saves_zmm = (low & 0xe6) == 0xe6;
  uint32_t a7, b7, c7, d7;
  if (!saves_ymm || !__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7) || !has(b7, 5)) return InstructionSet::none;
  // F, DQ, BW, VL and VNNI
  if (saves_zmm && has(b7, 16) && has(b7, 17) && has(b7, 30) && has(b7, 31) && has(c7, 11))
    return InstructionSet::avx512_vnni;
  if (a7 >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && has(a, 4)) return InstructionSet::avx_vnni;
  return InstructionSet::avx2;
}
#else
InstructionSet best() { return InstructionSet::none; }
#endif

}  // namespace

InstructionSet instruction_set() {
  static const InstructionSet chosen = [] {
    const InstructionSet found = best();
    const char* wanted = std::getenv("PHOTOGLUE_INSTRUCTIONS");
    for (int i = 0; wanted && i < static_cast<int>(found); ++i)
      if (!std::strcmp(wanted, name_of(static_cast<InstructionSet>(i)))) return static_cast<InstructionSet>(i);
    return found;
  }();
  return chosen;
}

const char* name_of(InstructionSet set) {
  switch (set) {
    case InstructionSet::avx512_vnni:
      return "avx512-vnni";
    case InstructionSet::avx_vnni:
      return "avx-vnni";
    case InstructionSet::avx2:
      return "avx2";
    default:
      return "";
  }
}

}  // namespace photoglue
