// Threads that share the tasks of one call. They live as long as the call: no thread waits in between, none is lost in a
// process that forks, and calls from several threads do not know each other.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace photoglue {

class Team {
 public:
  explicit Team(int threads);  // fewer, if the system has no more
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  // work(task, thread) for each task below count, by whichever thread is free; returns when all are done. What a task
  // gives must not depend on the thread.
  template <class Work>
  void each(long count, const Work& work) {
    run(count, [](const void* context, long task, int thread) { (*static_cast<const Work*>(context))(task, thread); },
        &work);
  }

 private:
  using Function = void (*)(const void*, long, int);

  void run(long count, Function function, const void* context);
  void help(int thread);
  void take(int thread);

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable begins_, ends_;
  std::atomic<long> next_{0};
  std::atomic<int> round_{0}, helping_{0};
  long count_ = 0;
  Function function_ = nullptr;
  const void* context_ = nullptr;
  bool over_ = false;
};

}  // namespace photoglue
