#include "team.hpp"

#include <system_error>

#include "subnormal.hpp"

namespace photoglue {
namespace {

// Rounds, some tens of microseconds, about as long as stages of a layer wait for each other on an idle machine; where
// other processes want the cores, longer spinning would keep those from running that have work.
constexpr int SPINS = 1000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

template <class Condition>
void spin_until(const Condition& condition) {
  for (int i = 0; i < SPINS && !condition(); ++i) pause();
}

}  // namespace

Team::Team(int threads) {
  try {
    for (int i = 1; i < threads; ++i) threads_.emplace_back([this, i] { help(i); });
  } catch (const std::system_error&) {
  }
}

Team::~Team() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    over_ = true;
    ++round_;
  }
  begins_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Team::run(long count, Function function, const void* context) {
  if (threads_.empty() || count < 2) {
    const NoSubnormals here;
    for (long task = 0; task < count; ++task) function(context, task, 0);
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    count_ = count, function_ = function, context_ = context;
    next_ = 0;
    helping_ = static_cast<int>(threads_.size());
    ++round_;
  }
  begins_.notify_all();
  take(0);
  const auto done = [this] { return helping_ == 0; };
  spin_until(done);
  std::unique_lock<std::mutex> lock(mutex_);
  ends_.wait(lock, done);
}

void Team::help(int thread) {
  for (int seen = 0;;) {
    const auto begun = [&] { return round_ != seen; };
    spin_until(begun);
    {
      std::unique_lock<std::mutex> lock(mutex_);
      begins_.wait(lock, begun);
      seen = round_;
      if (over_) return;
    }
    take(thread);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (--helping_ == 0) ends_.notify_one();
  }
}

void Team::take(int thread) {
  const NoSubnormals here;
  for (long task; (task = next_++) < count_;) function_(context_, task, thread);
}

}  // namespace photoglue
