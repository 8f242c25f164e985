#include "pack.hpp"

#include <algorithm>
#include <cmath>

namespace photoglue {
namespace {

// The numbers of a row, and what undoes their scale.
float quantised(const float* row, int count, int16_t* out) {
  double largest = 0, squares = 0;
  for (int i = 0; i < count; ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(row[i])));
    squares += static_cast<double>(row[i]) * row[i];
  }
  const double back = std::max(largest / MAX_INT16, std::sqrt(squares) / MAX_NORM);
  for (int i = 0; i < count; ++i) out[i] = back > 0 ? static_cast<int16_t>(std::lrint(row[i] / back)) : 0;
  return back > 0 ? static_cast<float>(back) : 1.f;
}

// A column of a panel, see tiles_amx.hpp: upper and lower bytes apart.
void pack_tiles(const int16_t* numbers, int count, int column, int32_t* panel) {
  auto* bytes = reinterpret_cast<uint8_t*>(panel);
  for (int i = 0; i < count; ++i) {
    uint8_t* to = bytes + i / 64 * 4096 + column / 16 * 2048 + i % 64 / 4 * 64 + column % 16 * 4 + i % 4;
    to[0] = static_cast<uint8_t>(numbers[i] >> 8);
    to[1024] = static_cast<uint8_t>(numbers[i] & 255);
  }
}

}  // namespace

std::unique_ptr<PackedLinear> pack_linear(const Kernels& kernels, const float* weights, long stride, const float* bias,
                                          int outputs, int inputs) {
  auto packed = std::make_unique<PackedLinear>();
  const int panel = kernels.panel, numbers = kernels.numbers, steps = inputs / numbers;
  int32_t* words = packed->words.room(static_cast<size_t>(outputs) * steps);
  float* scale = packed->scale.room(outputs);
  float* biases = packed->bias.room(outputs);
  Buffer<int16_t> row;
  for (int output = 0; output < outputs; ++output) {
    const float* from = weights + output * stride;
    const void* source = from;
    scale[output] = 1;
    if (numbers == 2) {
      int16_t* narrow = row.room(inputs);
      scale[output] = quantised(from, inputs, narrow);
      source = narrow;
    }
    int32_t* to = words + static_cast<long>(output / panel) * steps * panel;
    if (kernels.tiled)
      pack_tiles(row.data(), inputs, output % panel, to);
    else
      for (int step = 0; step < steps; ++step)
        std::memcpy(to + static_cast<long>(step) * panel + output % panel,
                    static_cast<const char*>(source) + step * sizeof(int32_t), sizeof(int32_t));
    biases[output] = bias ? bias[output] : 0;
  }
  packed->layer = Linear{words, scale, biases, inputs, outputs};
  return packed;
}

void pack_columns(const float* rows, long count, int width, int panel, int32_t* panels) {
  for (long column = 0; column < (count + panel - 1) / panel * panel; ++column) {
    int32_t* to = panels + column / panel * panel * width + column % panel;
    for (int c = 0; c < width; ++c) {
      if (column < count)
        std::memcpy(to + static_cast<long>(c) * panel, rows + column * width + c, sizeof(int32_t));
      else
        to[static_cast<long>(c) * panel] = 0;
    }
  }
}

}  // namespace photoglue
