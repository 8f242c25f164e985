// Single parts of a network, for tests and benchmarks.
#include <algorithm>

#include "api.hpp"
#include "pack.hpp"

using photoglue::Buffer;
using photoglue::Kernels;

double photoglue_products(int32_t int16, int64_t repeats) {
  const Kernels* kernels = photoglue::kernels(int16 != 0, photoglue::MAX_HEAD_DIM);
  Buffer<std::byte> scratch;  // zeros
  return kernels ? kernels->products(static_cast<long>(repeats), scratch.room(kernels->scratch)) : 0;
}

int32_t photoglue_linear(int32_t int16, const float* x, int64_t rows, const float* weights, const float* bias,
                         int32_t outputs, int32_t inputs, float* out) {
  const Kernels* kernels = photoglue::kernels(int16 != 0, inputs);
  if (!kernels || inputs % 32 || outputs % 32 || inputs > 2 * photoglue::MAX_WIDTH ||
      outputs > 3 * photoglue::MAX_WIDTH)
    return 1;
  const auto packed = photoglue::pack_linear(*kernels, weights, inputs, bias, outputs, inputs);
  Buffer<std::byte> scratch;
  kernels->linear(x, static_cast<int>(rows), packed->layer, out, scratch.room(kernels->scratch));
  return 0;
}

int32_t photoglue_attend(int32_t int16, const float* x, int64_t count, const float* weights, const float* bias,
                         int32_t width, int32_t heads, float* out) {
  const int head_dim = width / heads;
  const Kernels* kernels = photoglue::kernels(int16 != 0, head_dim);
  if (!kernels || width > photoglue::MAX_WIDTH || head_dim > photoglue::MAX_HEAD_DIM || head_dim % photoglue::HEAD_STEP)
    return 1;
  const auto packed = photoglue::pack_linear(*kernels, weights, width, bias, 3 * width, width);
  const long slots = (count + photoglue::KEY_BLOCK - 1) / photoglue::KEY_BLOCK * photoglue::KEY_BLOCK;
  const long capacity = count + kernels->tile_rows;
  Buffer<float> states, cosine, sine, query_scales, key_scales, key_biases, value_inverses;
  Buffer<int32_t> queries, keys, values;
  Buffer<std::byte> scratch;
  std::copy_n(x, count * width, states.room(count * width));
  std::fill_n(cosine.room(count * head_dim / 2), count * head_dim / 2, 1.f);
  std::fill_n(key_biases.room(heads * slots), heads * slots, -1e30f);
  const photoglue::Tokens tokens{
      width,
      heads,
      slots,
      capacity,
      states.data(),
      cosine.data(),
      sine.room(count * head_dim / 2),
      out,
      queries.room(heads * capacity * (photoglue::MAX_HEAD_DIM / kernels->numbers)),
      query_scales.room(heads * capacity),
      keys.room(slots * width / kernels->numbers),
      key_scales.room(heads * slots),
      key_biases.data(),
      value_inverses.room(heads * slots),
      values.room(slots / photoglue::KEY_BLOCK * kernels->value_keys * width / kernels->numbers),
  };
  void* room = scratch.room(kernels->scratch);
  const auto each_block = [&](const auto& work) {
    for (long row = 0; row < count; row += kernels->block_rows)
      work(photoglue::Rows{row, static_cast<int>(std::min<long>(kernels->block_rows, count - row)), row});
  };
  each_block([&](photoglue::Rows rows) { kernels->project_own(tokens, packed->layer, rows, room); });
  for (int head = 0; head < heads; ++head)
    each_block([&](photoglue::Rows rows) { kernels->attend(tokens, rows, {0, static_cast<int>(count)}, head, room); });
  return 0;
}
