// While one lives, the thread takes subnormal numbers for zero: a weight of 2^-130 counts for nothing in softmax, and
// would take a hundred times as long as one of 2^-100.
#pragma once
#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace photoglue {

class NoSubnormals {
 public:
#if defined(__x86_64__)
  NoSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(static_cast<unsigned>(before_) | 0x8040); }
  ~NoSubnormals() { _mm_setcsr(static_cast<unsigned>(before_)); }
#elif defined(__aarch64__)
  NoSubnormals() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
    __asm__ volatile("msr fpcr, %0" : : "r"(before_ | uint64_t{1} << 24));
  }
  ~NoSubnormals() { __asm__ volatile("msr fpcr, %0" : : "r"(before_)); }
#else
  NoSubnormals() : before_(0) { static_cast<void>(before_); }
#endif
  NoSubnormals(const NoSubnormals&) = delete;
  NoSubnormals& operator=(const NoSubnormals&) = delete;

 private:
  uint64_t before_;
};

}  // namespace photoglue
