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
    linear_rows<T>,
};

}  // namespace
