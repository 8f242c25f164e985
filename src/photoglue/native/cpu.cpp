#include "cpu.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "kernels.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace photoglue {
namespace {

#if defined(__x86_64__)
bool has(uint32_t word, int bit) { return (word >> bit & 1) != 0; }

// Tiles of full size that multiply bytes, and leave from Linux for all threads of this process to use them.
bool has_amx(uint32_t saved, uint32_t features) {
#if defined(__linux__)
  constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
  uint32_t a, b, c, d;
  return (saved >> 17 & 3) == 3 && has(features, 24) && has(features, 25) &&
         __get_cpuid_count(0x1d, 1, &a, &b, &c, &d) && b >> 16 >= 8 && (b & 0xffff) >= 64 && (c & 0xffff) >= 16 &&
         kernels_amx(true) && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
  static_cast<void>(saved), static_cast<void>(features);
  return false;
#endif
}

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
    return has(c7, 1) && has_amx(low, d7) ? InstructionSet::amx_int8 : InstructionSet::avx512_vnni;  // 1: VBMI
  if (a7 >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && has(a, 4)) return InstructionSet::avx_vnni;
  return InstructionSet::avx2;
}
#else
InstructionSet best() { return InstructionSet::none; }
#endif

InstructionSet found() {
  static const InstructionSet set = best();
  return set;
}

// The set of this name, or else `otherwise`.
InstructionSet named(const char* name, InstructionSet otherwise) {
  for (int i = 0; name && i <= static_cast<int>(found()); ++i)
    if (!std::strcmp(name, name_of(static_cast<InstructionSet>(i)))) return static_cast<InstructionSet>(i);
  return otherwise;
}

std::atomic<InstructionSet>& chosen() {
  static std::atomic<InstructionSet> set{named(std::getenv("PHOTOGLUE_INSTRUCTIONS"), found())};
  return set;
}

}  // namespace

InstructionSet instruction_set() { return chosen(); }

bool choose_instruction_set(const char* name) {
  const InstructionSet set = named(name, InstructionSet::none);
  if (set != InstructionSet::none) chosen() = set;
  return set != InstructionSet::none;
}

const char* name_of(InstructionSet set) {
  switch (set) {
    case InstructionSet::amx_int8:
      return "amx-int8";
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
