#include "parallel.hpp"

#include <algorithm>
#include <thread>
#include <vector>

namespace photoglue {

void parallel(int threads, int count, void (*work)(void*, int, int), void* context) {
  const int parts = std::max(1, std::min(threads, count));
  std::vector<std::thread> others;
  const auto begin = [&](int part) { return static_cast<int>(static_cast<long long>(count) * part / parts); };
  for (int part = 1; part < parts; ++part) others.emplace_back(work, context, begin(part), begin(part + 1));
  work(context, 0, begin(1));
  for (std::thread& other : others) other.join();
}

}  // namespace photoglue
