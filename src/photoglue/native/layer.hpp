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
constexpr int HEAD_STRIDE = MAX_HEAD_DIM + 16;  // between rows of one head
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
  alignas(64) int32_t keys[BLOCK_ROWS * QUERY_WORDS<T>];
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

// Keys of some tokens, LANES at a time where a vector of the panel's columns is theirs alone.
template <class T>
PHOTOGLUE_INLINE void write_keys(const Tokens& tokens, int head, long slot, const int32_t* rows, int count) {
  const int words = tokens.width / tokens.heads / T::NUMBERS;
  for (int row = 0, step; row < count; row += step) {
    int32_t* place = key_place<T>(tokens, head, slot + row);
    const int32_t* from = rows + row * QUERY_WORDS<T>;
    step = (slot + row) % LANES || count - row < LANES ? 1 : LANES;
    if (step > 1)
      for (int word = 0; word < words; word += LANES)
        transpose(from + word, QUERY_WORDS<T>, place + word * T::COLUMN_STEP, T::COLUMN_STEP);
    else
      for (int word = 0; word < words; ++word) place[word * T::COLUMN_STEP] = from[word];
  }
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
              bits(load(values + i * HEAD_STRIDE + c)));
      tokens.key_biases[head * tokens.slots + slot + i] = 0;
    }
  } else {
    Float scales[T::TOKENS];
    for (int i = 0; i < T::TOKENS; ++i)
      scales[i] = i < count ? value_scale(tokens, head, slot + i, values + i * HEAD_STRIDE) : all(0.f);
    for (int c = 0; c < head_dim; c += LANES) {
      Int numbers[T::TOKENS];
      for (int i = 0; i < T::TOKENS; ++i)
        numbers[i] = rounded(mul(load(values + (i < count ? i : 0) * HEAD_STRIDE + c), scales[i]));
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

// Queries, keys and values of some rows, head by head so that what is between lies near.
template <class T, bool Own>
void project(const Tokens& tokens, const Linear& layer, Rows rows, void* scratch) {
  [[maybe_unused]] const typename T::Session session;
  auto& room = *static_cast<Scratch<T>*>(scratch);
  const int head_dim = tokens.width / tokens.heads;
  quantise_rows<T>(tokens.x + rows.token * tokens.width, rows.count, tokens.width, room.input, room.scales[0]);
  const Input input[] = {{room.input, room.scales[0], &layer}};
  for (int head = 0; head < tokens.heads; ++head) {
    const long query = head * tokens.capacity + rows.token, key = head * tokens.slots + rows.slot;
    int32_t* queries = tokens.queries + query * QUERY_WORDS<T>;
    const auto projected = [&](int part) {
      linear<T>(input, rows.count, (part * tokens.width + head * head_dim) / PANEL, head_dim / PANEL, room.hidden,
                HEAD_STRIDE);
    };
    const auto write = [&](int32_t* words, float* scales) {
      for (int row = 0; row < rows.count; ++row) {
        float* of_row = room.hidden + row * HEAD_STRIDE;
        const long position = (rows.token + row) * (head_dim / 2);
        if (Own) rotate(of_row, head_dim, tokens.cosine + position, tokens.sine + position);
        scales[row] = quantised<T>(of_row, head_dim, words + row * QUERY_WORDS<T>);
      }
    };
    projected(0);
    write(queries, tokens.query_scales + query);
    if constexpr (Own) {
      projected(1);
      write(room.keys, tokens.key_scales + key);
    } else {  // keys are the queries
      for (int row = 0; row < rows.count; ++row) tokens.key_scales[key + row] = tokens.query_scales[query + row];
    }
    write_keys<T>(tokens, head, rows.slot, Own ? room.keys : queries, rows.count);
    projected(Own ? 2 : 1);
    for (int row = 0; row < rows.count; row += T::TOKENS)
      write_values<T>(tokens, head, rows.slot + row, room.hidden + row * HEAD_STRIDE,
                      rows.count - row < T::TOKENS ? rows.count - row : T::TOKENS);
  }
}

// What layer norm subtracts from some rows, and then multiplies them with; together, as sums wait for one another.
template <int Count>
PHOTOGLUE_INLINE void moments(const float* x, int channels, float* means, float* factors) {
  Float sums[Count], squares[Count];
  for (int i = 0; i < Count; ++i) sums[i] = squares[i] = all(0.f);
  for (int c = 0; c < channels; c += LANES)
    for (int i = 0; i < Count; ++i) sums[i] = add(sums[i], load(x + i * HIDDEN_STRIDE + c));
  for (int i = 0; i < Count; ++i) means[i] = sum_of(sums[i]) / static_cast<float>(channels);
  for (int c = 0; c < channels; c += LANES)
    for (int i = 0; i < Count; ++i) {
      const Float centred = sub(load(x + i * HIDDEN_STRIDE + c), all(means[i]));
      squares[i] = fma(centred, centred, squares[i]);
    }
  for (int i = 0; i < Count; ++i)
    factors[i] = 1 / __builtin_sqrtf(sum_of(squares[i]) / static_cast<float>(channels) + 1e-5f);
}

// Layer norm and GELU of one row, in place, then as words; returns what undoes their scale.
template <class T>
PHOTOGLUE_INLINE float norm_gelu(float* x, int channels, float mean, float factor, const FeedForward& net,
                                 int32_t* words) {
  Float largest = all(0.f), squares = all(0.f);
  for (int c = 0; c < channels; c += LANES) {
    const Float normed = mul(sub(load(x + c), all(mean)), all(factor));
    const Float value = gelu(fma(normed, load(net.norm_weight + c), load(net.norm_bias + c)));
    store(x + c, value);
    largest = larger(largest, magnitude(value));
    squares = fma(value, value, squares);
  }
  if constexpr (T::EXACT) {
    return quantised<T>(x, channels, words);
  } else {
    const Scale scale = scale_for(largest_of(largest), sum_of(squares));
    put_row<T>(x, channels, scale.forward, words);
    return scale.back;
  }
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
  const Input both[] = {{room.input, room.scales[0], &net.of_state}, {context, room.scales[1], &net.of_context}};
  linear<T>(both, rows.count, 0, hidden / PANEL, room.hidden, HIDDEN_STRIDE);
  constexpr int AT_ONCE = 2;
  static_assert(BLOCK_ROWS % AT_ONCE == 0);
  for (int row = 0; row < rows.count; row += AT_ONCE) {
    float* some = room.hidden + row * HIDDEN_STRIDE;
    float means[AT_ONCE], factors[AT_ONCE];
    moments<AT_ONCE>(some, hidden, means, factors);
    for (int i = 0; i < AT_ONCE; ++i)
      room.scales[0][row + i] = norm_gelu<T>(some + i * HIDDEN_STRIDE, hidden, means[i], factors[i], net,
                                             room.input + (row + i) * INPUT_STRIDE<T>);
  }
  const Input second[] = {{room.input, room.scales[0], &net.second}};
  linear<T>(second, rows.count, 0, width / PANEL, room.hidden, HIDDEN_STRIDE);
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
