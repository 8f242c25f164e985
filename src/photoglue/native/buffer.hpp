// Memory that is kept from call to call: it grows, and is zeros where nothing was written yet.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace photoglue {

template <class T>
class Buffer {
 public:
  // Room for `count`, aligned to a cache line; what was in it may be gone.
  T* room(size_t count) {
    if (count > count_) {
      const size_t bytes = (count + count / 8) * sizeof(T) + 64;
      memory_.reset(new std::byte[bytes]());
      void* start = memory_.get();
      size_t space = bytes;
      data_ = static_cast<T*>(std::align(64, count * sizeof(T), start, space));
      count_ = (space / sizeof(T));
    }
    return data_;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }

 private:
  std::unique_ptr<std::byte[]> memory_;
  T* data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace photoglue
