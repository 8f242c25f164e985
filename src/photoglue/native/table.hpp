// The table of kernels of the instruction set whose vectors were included before.
#pragma once
#include "assignment.hpp"
#include "attention.hpp"

namespace {

template <class T>
void linear_rows(const float* x, int rows, const Linear& layer, float* out, void* scratch) {
  [[maybe_unused]] const typename T::Session session;
  auto& room = *static_cast<Scratch<T>*>(scratch);
  for (int row = 0; row < rows; row += BLOCK_ROWS) {
    const int count = rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS;
    quantise_rows<T>(x + static_cast<long>(row) * layer.inputs, count, layer.inputs, room.input, room.scales[0]);
    const Input input[] = {{room.input, room.scales[0], &layer}};
    linear<T>(input, count, 0, layer.outputs / PANEL, room.hidden, HIDDEN_STRIDE);
    for (int i = 0; i < count; ++i)
      for (int c = 0; c < layer.outputs; ++c)
        out[static_cast<long>(row + i) * layer.outputs + c] = room.hidden[i * HIDDEN_STRIDE + c];
  }
}

template <class T>
double only_products(long repeats, void* scratch) {
  [[maybe_unused]] const typename T::Session session;
  auto& room = *static_cast<Scratch<T>*>(scratch);
  Float total = all(0.f);
  for (long i = 0; i < repeats; ++i)
    products<T, INPUT_STRIDE<T>>(
        1, [&](int) { return room.input; }, 1, [&](int, int) { return reinterpret_cast<int32_t*>(room.hidden); },
        2 * MAX_WIDTH / T::NUMBERS,
        [&](int) { return [&](int, Float left, Float right) { total = add(total, add(left, right)); }; });
  store(room.hidden, total);
  return 4. * MAX_WIDTH * TILE_ROWS * PANEL * static_cast<double>(repeats);
}

template <class T>
constexpr photoglue::Kernels TABLE{
    PANEL,
    T::NUMBERS,
    T::TILED,
    BLOCK_ROWS,
    TILE_ROWS,
    T::VALUE_KEYS,
    sizeof(Scratch<T>),
    project<T, true>,
    project<T, false>,
    attend<T>,
    feed_forward<T>,
    logits,
    sum_up,
    choose,
    only_products<T>,
    linear_rows<T>,
};

}  // namespace
