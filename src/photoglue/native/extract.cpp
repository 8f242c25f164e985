#include "extract.hpp"

#include <algorithm>

#include "api.hpp"
#include "cpu.hpp"
#include "team.hpp"

namespace photoglue {
namespace {

const ExtractKernels* kernels() {
#if defined(__aarch64__)
  return extract_kernels_neon();
#endif
  switch (instruction_set()) {
    case InstructionSet::amx_int8:
    case InstructionSet::avx512_vnni: return extract_kernels_avx512();
    case InstructionSet::avx_vnni:
    case InstructionSet::avx2: return extract_kernels_avx2();
    default: return nullptr;
  }
}

// Runs a kernel for the parts of 0 ... count in so many threads; some more parts than threads, so that none waits long.
template <class Task>
void run(void (*kernel)(const Task&, int, int), const Task& task, int count, int threads) {
  Team team(threads);
  const long parts = std::min(count, team.size() == 1 ? 1 : 3 * team.size());
  team.each(parts, [&](long part, int) {
    kernel(task, static_cast<int>(count * part / parts), static_cast<int>(count * (part + 1) / parts));
  });
}

}  // namespace
}  // namespace photoglue

using namespace photoglue;

PHOTOGLUE_EXPORT int32_t photoglue_extract() { return kernels() != nullptr; }

PHOTOGLUE_EXPORT void photoglue_pack(const float* weights, int32_t outputs, int32_t inputs, int32_t side, float* packed) {
  kernels()->pack(weights, outputs, inputs, side, packed);
}

PHOTOGLUE_EXPORT void photoglue_first_block(const FirstBlock* task, int32_t threads) {
  run(kernels()->first_block, *task, task->height / 4, threads);
}

PHOTOGLUE_EXPORT void photoglue_second_block(const SecondBlock* task, int32_t threads) {
  run(kernels()->second_block, *task, task->height / 4, threads);
}

PHOTOGLUE_EXPORT void photoglue_score_head(const ScoreHead* task, int32_t threads) {
  run(kernels()->score_head, *task, task->height, threads);
}

PHOTOGLUE_EXPORT void photoglue_deform(const Deform* task, int32_t threads) {
  run(kernels()->deform, *task, (task->height + 3) / 4, threads);
}

PHOTOGLUE_EXPORT void photoglue_describe(const Describe* task, int32_t threads) {
  run(kernels()->describe, *task, task->count, threads);
}

PHOTOGLUE_EXPORT void photoglue_maxima(const Maxima* task, int32_t threads) {
  run(kernels()->maxima, *task, task->height, threads);
}

PHOTOGLUE_EXPORT void photoglue_conv(const Conv* task, int32_t threads) {
  run(kernels()->convolve, *task, (task->height + 3) / 4, threads);
}

PHOTOGLUE_EXPORT void photoglue_opening(const Opening* task, int32_t threads) {
  run(kernels()->opening, *task, (task->height + 3) / 4, threads);
}

PHOTOGLUE_EXPORT void photoglue_pointwise(const Pointwise* task, int32_t threads) {
  run(kernels()->pointwise, *task, (task->count + 47) / 48, threads);
}

PHOTOGLUE_EXPORT void photoglue_disk_conv(const DiskConv* task, int32_t threads) {
  run(kernels()->disk_conv, *task, (task->maps.height + 1) / 2, threads);
}

PHOTOGLUE_EXPORT void photoglue_disk_first(const DiskFirst* task, int32_t threads) {
  run(kernels()->disk_first, *task, task->height / 2, threads);
}

PHOTOGLUE_EXPORT void photoglue_moments(const Moments* task, int32_t threads) {
  run(kernels()->moments, *task, task->doubled ? 2 * task->height : task->height, threads);
}

PHOTOGLUE_EXPORT void photoglue_disk_logits(const DiskLogits* task, int32_t threads) {
  run(kernels()->disk_logits, *task, task->maps.height, threads);
}

PHOTOGLUE_EXPORT void photoglue_disk_describe(const DiskDescribe* task, int32_t threads) {
  run(kernels()->disk_describe, *task, task->count, threads);
}
