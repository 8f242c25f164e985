// Matrix products of small integers or floats: rows of words times panels of words.
//
// A word is what one step of a product takes: two int16 numbers, or one float. A is rows of words, LDA apart. B is a
// panel: for each step PANEL words, one for each column. A tile of TILE_ROWS × PANEL sums stays in registers.
//
// No sum of integers overflows: see MAX_NORM.
#pragma once
// Included after one of the files that define vectors.

#include <cstdint>
#include <utility>

#include "kernels.hpp"

namespace {

using photoglue::KEY_BLOCK;
using photoglue::Linear;
using photoglue::MAX_INT16;
using photoglue::MAX_NORM;

constexpr int PANEL = 2 * LANES;
static_assert((static_cast<int64_t>(MAX_NORM) + 12) * (static_cast<int64_t>(MAX_NORM) + 12) < INT32_MAX);

// Words of a row in their order; words of a panel step by step.
struct Words {
  static constexpr bool TILED = false;
  static constexpr int COLUMN_STEP = PANEL;     // words from one of a panel's column to the next
  static constexpr int GROUP = 1;               // panels of keys that are one step of a product with their values
  static constexpr int VALUE_KEYS = KEY_BLOCK;  // that the values of a block of keys have room for
  static constexpr int TOKENS = 2;              // whose values are words together
  struct Session {};                            // lives while a thread multiplies
  PHOTOGLUE_INLINE_MEMBER int column(int column) { return column; }  // where its words begin in a panel
};

struct Int16 : Words {
  using Sum = Int;
  static constexpr int NUMBERS = 2;  // in a word
  static constexpr bool EXACT = false;
  PHOTOGLUE_INLINE_MEMBER Sum zero() { return all(0); }
  PHOTOGLUE_INLINE_MEMBER Sum step(Sum sums, Int a, Int b) { return dot(sums, a, b); }
  PHOTOGLUE_INLINE_MEMBER Float value(Sum sums) { return to_float(sums); }
  // AT_ONCE vectors of numbers of a row, from channel c on.
  static constexpr int AT_ONCE = 1;
  PHOTOGLUE_INLINE_MEMBER void put(int32_t* words, int c, const Int* numbers) {
    store_narrow(reinterpret_cast<int16_t*>(words) + c, *numbers);
  }
  // Weights of a panel of keys, of which there are GROUP in a step: this part of it.
  PHOTOGLUE_INLINE_MEMBER void put_weights(int32_t* words, int, Int low, Int high) { store(words, packed(low, high)); }
  // Values of TOKENS keys of a block, of LANES channels from c on; `panels` are those of the block.
  PHOTOGLUE_INLINE_MEMBER void put_values(int32_t* panels, long key, int c, const Int* numbers) {
    const long step = key / PANEL * LANES + place_of_pair(static_cast<int>(key % PANEL) / 2);
    store(panels + (c / PANEL * (VALUE_KEYS / NUMBERS) + step) * PANEL + c % PANEL,
          interleaved(numbers[0], numbers[1]));
  }
};

struct Float32 : Words {
  using Sum = Float;
  static constexpr int NUMBERS = 1;
  static constexpr bool EXACT = true;
  PHOTOGLUE_INLINE_MEMBER Sum zero() { return all(0.f); }
  PHOTOGLUE_INLINE_MEMBER Sum step(Sum sums, Int a, Int b) { return fma(floats(a), floats(b), sums); }
  PHOTOGLUE_INLINE_MEMBER Float value(Sum sums) { return sums; }
};

}  // namespace

#if defined(PHOTOGLUE_AMX)
#include "tiles_amx.hpp"
#endif

namespace {

// See `products`. Rows are template arguments, not the variable of a loop: GCC keeps arrays in registers only if it
// knows every index before it unrolls loops.
template <class T, int LDA, class Panel, class Finish, int... Row>
PHOTOGLUE_INLINE void in_registers(const int32_t* a, int panels, Panel panel, long steps, Finish finish,
                                   std::integer_sequence<int, Row...>) {
  typename T::Sum left[] = {(static_cast<void>(Row), T::zero())...};
  typename T::Sum right[] = {(static_cast<void>(Row), T::zero())...};
  for (int i = 0; i < panels; ++i) {
    const int32_t* b = panel(i);
    for (long step = 0; step < steps; ++step, ++a, b += PANEL) {
      const Int b0 = load(b), b1 = load(b + LANES);
      (([&] {
         const Int word = all(a[Row * LDA]);
         left[Row] = T::step(left[Row], word, b0);
         right[Row] = T::step(right[Row], word, b1);
       }()),
       ...);
    }
  }
  (finish(Row, T::value(left[Row]), T::value(right[Row])), ...);
}

// Some tiles of sums, each the product of the rows at rows(tile) with a few panels, panel(tile, i), each of some steps,
// as if they were one. finish(tile)(row, left, right) gets the sums of a row, LANES columns each.
template <class T, int LDA, class Rows, class Panel, class Finish>
PHOTOGLUE_INLINE void products(int tiles, Rows rows, int panels, Panel panel, long steps, Finish finish) {
  if constexpr (T::TILED)
    T::template multiply<LDA>(tiles, rows, panels, panel, steps, finish);
  else
    for (int tile = 0; tile < tiles; ++tile)
      in_registers<T, LDA>(
          rows(tile), panels, [&](int i) { return panel(tile, i); }, steps, finish(tile),
          std::make_integer_sequence<int, TILE_ROWS>());
}

// The factor that brings numbers to int16 with a norm of at most MAX_NORM, and what undoes it.
struct Scale {
  float forward, back;
};

PHOTOGLUE_INLINE Scale scale_for(float largest, float squares) {
  const float by_norm = __builtin_sqrtf(squares) / MAX_NORM, by_size = largest / MAX_INT16;
  const float back = by_norm > by_size ? by_norm : by_size;
  return back > 0 ? Scale{1 / back, back} : Scale{0, 1};
}

// A row whose numbers are brought to int16 by `forward`, as words for a product.
template <class T>
PHOTOGLUE_INLINE void put_row(const float* x, int channels, float forward, int32_t* words) {
  for (int c = 0; c < channels; c += T::AT_ONCE * LANES) {
    Int numbers[T::AT_ONCE];
    for (int i = 0; i < T::AT_ONCE; ++i) numbers[i] = rounded(mul(load(x + c + i * LANES), all(forward)));
    T::put(words, c, numbers);
  }
}

// A row as words for a product; returns what undoes the scale.
template <class T>
PHOTOGLUE_INLINE float quantised(const float* x, int channels, int32_t* words) {
  if constexpr (T::EXACT) {
    for (int c = 0; c < channels; c += LANES) store(reinterpret_cast<float*>(words) + c, load(x + c));
    return 1;
  } else {
    Float largest = all(0.f), squares = all(0.f);
    for (int c = 0; c < channels; c += LANES) {
      const Float value = load(x + c);
      largest = larger(largest, magnitude(value));
      squares = fma(value, value, squares);
    }
    const Scale scale = scale_for(largest_of(largest), sum_of(squares));
    put_row<T>(x, channels, scale.forward, words);
    return scale.back;
  }
}

// Words between two rows of a linear layer's input: of 2 · MAX_WIDTH channels, and a cache line so that rows do not
// fall on each other in the cache.
template <class T>
constexpr int INPUT_STRIDE = 2 * photoglue::MAX_WIDTH / T::NUMBERS + 16;

// Rows that are multiplied with a layer's weights, as words, and what undoes the scale of each.
struct Input {
  const int32_t* words;
  const float* scales;
  const Linear* layer;
};

// Some panels of outputs, from the first one on: the sum of what one or two layers make of their inputs.
template <class T, int N>
PHOTOGLUE_INLINE void linear(const Input (&inputs)[N], int rows, int first, int panels, float* out, long stride) {
  const int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  const long steps = inputs[0].layer->inputs / T::NUMBERS;
  products<T, INPUT_STRIDE<T>>(
      tiles * N * panels,
      [&](int tile) { return inputs[tile / tiles % N].words + tile % tiles * TILE_ROWS * INPUT_STRIDE<T>; }, 1,
      [&](int tile, int) {
        return inputs[tile / tiles % N].layer->words + (first + tile / (tiles * N)) * steps * PANEL;
      },
      steps,
      [&](int tile) {
        const int panel = tile / (tiles * N), layer = tile / tiles % N, row = tile % tiles * TILE_ROWS;
        const Linear& of = *inputs[layer].layer;
        const int column = (first + panel) * PANEL;
        const float *scales = of.scale + column, *bias = of.bias + column, *of_rows = inputs[layer].scales + row;
        float* to = out + row * stride + panel * PANEL;
        return [=](int i, Float left, Float right) {
          float* place = to + i * stride;
          const float* start = N > 1 && layer ? place : bias;
          if constexpr (T::EXACT) {
            store(place, add(left, load(start)));
            store(place + LANES, add(right, load(start + LANES)));
          } else {
            store(place, fma(mul(left, load(scales)), all(of_rows[i]), load(start)));
            store(place + LANES, fma(mul(right, load(scales + LANES)), all(of_rows[i]), load(start + LANES)));
          }
        };
      });
}

}  // namespace
