// The parts of a transformer layer that work on one token at a time: projections, feed-forward network.
#pragma once
// Included after one of the files that define vectors.

#include "math.hpp"
#include "product.hpp"

namespace {

using photoglue::FeedForward;
using photoglue::HEAD_STEP;
using photoglue::MAX_HEAD_DIM;
using photoglue::MAX_WIDTH;
using photoglue::Rows;
using photoglue::Tokens;

constexpr int BLOCK_ROWS = 56 / TILE_ROWS * TILE_ROWS;
constexpr int HIDDEN_STRIDE = 3 * MAX_WIDTH + 16;
constexpr int KEY_PANELS = KEY_BLOCK / PANEL;

// Attention's weights are at most MAX_WEIGHT, values MAX_VALUE: KEY_BLOCK products of both are less than 2³¹.
constexpr float MAX_WEIGHT = 8191.f, MAX_VALUE = 1170.f;
static_assert(KEY_BLOCK % PANEL == 0 && BLOCK_ROWS % 2 == 0);
static_assert(static_cast<double>(MAX_WEIGHT) * MAX_VALUE * KEY_BLOCK < 2147483647.0);

template <class T>
constexpr int QUERY_WORDS = MAX_HEAD_DIM / T::NUMBERS;
template <class T>
constexpr int VALUE_STEPS = T::VALUE_KEYS / T::NUMBERS;

template <class T>
struct Scratch {
  alignas(64) int32_t input[BLOCK_ROWS * INPUT_STRIDE<T>];
  alignas(64) float hidden[BLOCK_ROWS * HIDDEN_STRIDE];
  alignas(64) float scales[2][BLOCK_ROWS];
  // Of attention.
  alignas(64) float scores[TILE_ROWS * KEY_BLOCK];  // then, in their place, weights
  alignas(64) float sums[BLOCK_ROWS * MAX_HEAD_DIM];
  alignas(64) float totals[BLOCK_ROWS * LANES];
  alignas(64) float peaks[BLOCK_ROWS];
  alignas(64) float largest[TILE_ROWS * LANES];  // of the scores of a row
};

// Where the words of a slot's key lie; one further is COLUMN_STEP words on.
template <class T>
PHOTOGLUE_INLINE int32_t* key_place(const Tokens& tokens, int head, long slot) {
  const int words = tokens.width / tokens.heads / T::NUMBERS;
  return tokens.keys + (head * tokens.slots + slot / PANEL * PANEL) * words + T::column(static_cast<int>(slot % PANEL));
}

// Where the words of a block's values lie: panels of channels.
template <class T>
PHOTOGLUE_INLINE int32_t* value_block(const Tokens& tokens, int head, long block) {
  return tokens.values + (head * (tokens.slots / KEY_BLOCK) + block) * VALUE_STEPS<T> * (tokens.width / tokens.heads);
}

template <class T>
PHOTOGLUE_INLINE void write_key(const Tokens& tokens, int head, long slot, const int32_t* words, float scale) {
  int32_t* place = key_place<T>(tokens, head, slot);
  for (int word = 0; word < tokens.width / tokens.heads / T::NUMBERS; ++word)
    place[word * T::COLUMN_STEP] = words[word];
  tokens.key_scales[head * tokens.slots + slot] = scale;
}

// What brings a row of values to MAX_VALUE.
PHOTOGLUE_INLINE Float value_scale(const Tokens& tokens, int head, long slot, const float* value) {
  Float largest = all(0.f);
  for (int c = 0; c < tokens.width / tokens.heads; c += LANES) largest = larger(largest, magnitude(load(value + c)));
  const float most = largest_of(largest), forward = most > 1e-30f ? MAX_VALUE / most : 1.f;
  tokens.value_inverses[head * tokens.slots + slot] = forward;
  tokens.key_biases[head * tokens.slots + slot] = -__builtin_log2f(forward);
  return all(forward);
}

// The values of tokens, at most TOKENS, whose first slot is a multiple of that.
template <class T>
PHOTOGLUE_INLINE void write_values(const Tokens& tokens, int head, long slot, const float* values, int count) {
  static_assert(KEY_BLOCK % T::TOKENS == 0 && BLOCK_ROWS % T::TOKENS == 0);
  const int head_dim = tokens.width / tokens.heads;
  const long key = slot % KEY_BLOCK;
  int32_t* panels = value_block<T>(tokens, head, slot / KEY_BLOCK);
  if constexpr (T::EXACT) {
    for (int i = 0; i < count; ++i) {
      for (int c = 0; c < head_dim; c += LANES)
        store(panels + (c / PANEL * VALUE_STEPS<T> + key + i) * PANEL + c % PANEL,
              bits(load(values + i * HIDDEN_STRIDE + c)));
      tokens.key_biases[head * tokens.slots + slot + i] = 0;
    }
  } else {
    Float scales[T::TOKENS];
    for (int i = 0; i < T::TOKENS; ++i)
      scales[i] = i < count ? value_scale(tokens, head, slot + i, values + i * HIDDEN_STRIDE) : all(0.f);
    for (int c = 0; c < head_dim; c += LANES) {
      Int numbers[T::TOKENS];
      for (int i = 0; i < T::TOKENS; ++i)
        numbers[i] = rounded(mul(load(values + (i < count ? i : 0) * HIDDEN_STRIDE + c), scales[i]));
      T::put_values(panels, key, c, numbers);
    }
  }
}

// Channels of a head turned by the position of its token: those of the first half are paired with those of the second.
PHOTOGLUE_INLINE void rotate(float* x, int head_dim, const float* cosine, const float* sine) {
  for (int c = 0; c < head_dim / 2; c += LANES) {
    const Float even = load(x + c), odd = load(x + head_dim / 2 + c), cos = load(cosine + c), sin = load(sine + c);
    store(x + c, sub(mul(even, cos), mul(odd, sin)));
    store(x + head_dim / 2 + c, fma(odd, cos, mul(even, sin)));
  }
}

template <class T>
void quantise_rows(const float* x, int rows, int width, int32_t* words, float* scales) {
  for (int row = 0; row < rows; ++row)
    scales[row] = quantised<T>(x + row * width, width, words + row * INPUT_STRIDE<T>);
}

// Writes queries, keys and values of some rows, from projections side by side.
template <class T, bool Own>
void write_attention(const Tokens& tokens, const float* projected, Rows rows) {
  const int head_dim = tokens.width / tokens.heads, value_column = Own ? 2 * tokens.width : tokens.width;
  for (int head = 0; head < tokens.heads; ++head) {
    for (int row = 0; row < rows.count; ++row) {
      const long token = rows.token + row, slot = rows.slot + row;
      const float* query = projected + row * HIDDEN_STRIDE + head * head_dim;
      int32_t* words = tokens.queries + (head * tokens.capacity + token) * QUERY_WORDS<T>;
      const float scale = quantised<T>(query, head_dim, words);
      tokens.query_scales[head * tokens.capacity + token] = scale;
      if constexpr (Own) {
        alignas(64) int32_t key[QUERY_WORDS<T>];
        const float of_key = quantised<T>(query + tokens.width, head_dim, key);
        write_key<T>(tokens, head, slot, key, of_key);
      } else {
        write_key<T>(tokens, head, slot, words, scale);  // keys are the queries
      }
    }
    for (int row = 0; row < rows.count; row += T::TOKENS) {
      const float* values = projected + row * HIDDEN_STRIDE + value_column + head * head_dim;
      write_values<T>(tokens, head, rows.slot + row, values,
                      rows.count - row < T::TOKENS ? rows.count - row : T::TOKENS);
    }
  }
}

template <class T>
void project_own(const Tokens& tokens, const Linear& layer, Rows rows, void* scratch) {
  [[maybe_unused]] const typename T::Session session;
  auto& room = *static_cast<Scratch<T>*>(scratch);
  const int head_dim = tokens.width / tokens.heads;
  quantise_rows<T>(tokens.x + rows.token * tokens.width, rows.count, tokens.width, room.input, room.scales[0]);
  linear<T, false>(room.input, room.scales[0], rows.count, layer, room.hidden, HIDDEN_STRIDE);
  for (int row = 0; row < rows.count; ++row) {
    const long position = (rows.token + row) * (head_dim / 2);
    for (int head = 0; head < 2 * tokens.heads; ++head)
      rotate(room.hidden + row * HIDDEN_STRIDE + head * head_dim, head_dim, tokens.cosine + position,
             tokens.sine + position);
  }
  write_attention<T, true>(tokens, room.hidden, rows);
}

template <class T>
void project_cross(const Tokens& tokens, const Linear& layer, Rows rows, void* scratch) {
  [[maybe_unused]] const typename T::Session session;
  auto& room = *static_cast<Scratch<T>*>(scratch);
  quantise_rows<T>(tokens.x + rows.token * tokens.width, rows.count, tokens.width, room.input, room.scales[0]);
  linear<T, false>(room.input, room.scales[0], rows.count, layer, room.hidden, HIDDEN_STRIDE);
  write_attention<T, false>(tokens, room.hidden, rows);
}

// Layer norm and GELU of one row, in place.
PHOTOGLUE_INLINE void norm_gelu(float* x, int channels, const float* weight, const float* bias) {
  Float sum = all(0.f), squares = all(0.f);
  for (int c = 0; c < channels; c += LANES) sum = add(sum, load(x + c));
  const Float mean = all(sum_of(sum) / static_cast<float>(channels));
  for (int c = 0; c < channels; c += LANES) {
    const Float centred = sub(load(x + c), mean);
    squares = fma(centred, centred, squares);
  }
  const Float factor = all(1 / __builtin_sqrtf(sum_of(squares) / static_cast<float>(channels) + 1e-5f));
  for (int c = 0; c < channels; c += LANES)
    store(x + c, gelu(fma(mul(sub(load(x + c), mean), factor), load(weight + c), load(bias + c))));
}

template <class T>
void feed_forward(const Tokens& tokens, const FeedForward& net, Rows rows, void* scratch) {
  [[maybe_unused]] const typename T::Session session;
  auto& room = *static_cast<Scratch<T>*>(scratch);
  const int width = tokens.width, hidden = net.of_state.outputs;
  float* x = tokens.x + rows.token * width;
  int32_t* context = room.input + MAX_WIDTH / T::NUMBERS;
  quantise_rows<T>(x, rows.count, width, room.input, room.scales[0]);
  quantise_rows<T>(tokens.context + rows.token * width, rows.count, width, context, room.scales[1]);
  for (int panel = 0; panel < hidden / PANEL; ++panel) {
    linear_panel<T, false>(room.input, room.scales[0], rows.count, net.of_state, panel, room.hidden, HIDDEN_STRIDE);
    linear_panel<T, true>(context, room.scales[1], rows.count, net.of_context, panel, room.hidden, HIDDEN_STRIDE);
  }
  for (int row = 0; row < rows.count; ++row) {
    float* of_row = room.hidden + row * HIDDEN_STRIDE;
    norm_gelu(of_row, hidden, net.norm_weight, net.norm_bias);
    room.scales[0][row] = quantised<T>(of_row, hidden, room.input + row * INPUT_STRIDE<T>);
  }
  linear<T, false>(room.input, room.scales[0], rows.count, net.second, room.hidden, HIDDEN_STRIDE);
  for (int row = 0; row < rows.count; ++row)
    for (int c = 0; c < width; c += LANES)
      store(x + row * width + c, add(load(x + row * width + c), load(room.hidden + row * HIDDEN_STRIDE + c)));
}

// x · weight + bias, one number a row.
void logits(const float* x, long rows, int width, const float* weight, float bias, float* out) {
  for (long row = 0; row < rows; ++row) {
    Float sum = all(0.f);
    for (int c = 0; c < width; c += LANES) sum = fma(load(x + row * width + c), load(weight + c), sum);
    out[row] = sum_of(sum) + bias;
  }
}

}  // namespace
