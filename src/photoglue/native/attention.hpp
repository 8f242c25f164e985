// Softmax attention to the base 2, some rows and all their keys at a time; nothing but the result is kept.
//
// Scores arrive multiplied by log2(e) / √(channels of a head). Keys come in blocks; where a block has a higher score
// than those before, what was summed is scaled down ("online softmax"). As integers, weights are at most MAX_WEIGHT.
// Values have a scale for each key: it multiplies the weight, as log2 added to the score, so that the sums need no other
// scale; the total of the weights is taken without it.
#pragma once
// Included after one of the files that define vectors.

#include "layer.hpp"

namespace {

using photoglue::Partners;

constexpr float LOWEST = -1e30f;

// The scores of a tile of rows and a block of keys; returns in `peaks` the largest of each row and those before it.
template <class T>
PHOTOGLUE_INLINE void score(const Tokens& tokens, int head, const int32_t* queries, const float* query_scales,
                            long slot, int panels, float* scores, float* peaks) {
  const int words = tokens.width / tokens.heads / T::NUMBERS;
  const long first = head * tokens.slots + slot;
  alignas(64) float largest[TILE_ROWS * LANES];
  for (int i = 0; i < TILE_ROWS; ++i) store(largest + i * LANES, all(LOWEST));
  for (int panel = 0; panel < panels; ++panel) {
    const long key = first + panel * PANEL;
    const Float scale[] = {load(tokens.key_scales + key), load(tokens.key_scales + key + LANES)};
    const Float bias[] = {load(tokens.key_biases + key), load(tokens.key_biases + key + LANES)};
    float* to = scores + panel * PANEL;
    tile<T, QUERY_WORDS<T>>(queries, tokens.keys + key * words, words, [&](int i, int half, Float value) {
      if constexpr (T::EXACT) value = add(value, bias[half]);
      else value = fma(mul(value, scale[half]), all(query_scales[i]), bias[half]);
      store(to + i * KEY_BLOCK + half * LANES, value);
      store(largest + i * LANES, larger(load(largest + i * LANES), value));
    });
  }
  for (int i = 0; i < TILE_ROWS; ++i) {
    const float most = largest_of(load(largest + i * LANES));
    peaks[i] = most > peaks[i] ? most : peaks[i];
  }
}

// The weights of a tile of rows and a block of keys, as words for the product with values; adds to the totals.
template <class T>
PHOTOGLUE_INLINE void weigh(const float* scores, const float* peaks, const float* inverses, int panels,
                            int32_t* weights, float* totals) {
  const float lift = T::EXACT ? 0.f : 12.9998f;  // log2 of a little less than MAX_WEIGHT + 1
  for (int i = 0; i < TILE_ROWS; ++i) {
    const Float shift = all(lift - peaks[i]);
    const float* from = scores + i * KEY_BLOCK;
    int32_t* to = weights + i * VALUE_STEPS<T>;
    Float total = load(totals + i * LANES);
    for (int panel = 0; panel < panels; ++panel, from += PANEL, to += PANEL / T::NUMBERS) {
      const Float low = exp2_of<T::EXACT>(add(load(from), shift));
      const Float high = exp2_of<T::EXACT>(add(load(from + LANES), shift));
      if constexpr (T::EXACT) {
        store(to, bits(low));
        store(to + LANES, bits(high));
        total = add(total, add(low, high));
      } else {
        const Int whole_low = rounded(low), whole_high = rounded(high);
        store(to, packed(whole_low, whole_high));
        total = fma(low, load(inverses + panel * PANEL), total);
        total = fma(high, load(inverses + panel * PANEL + LANES), total);
      }
    }
    store(totals + i * LANES, total);
  }
}

template <class T>
void attend(const Tokens& tokens, Rows rows, Partners partners, int head, void* scratch) {
  auto& room = *static_cast<Scratch<T>*>(scratch);
  const int head_dim = tokens.width / tokens.heads;
  for (int i = 0; i < BLOCK_ROWS; ++i) {
    room.peaks[i] = LOWEST;
    store(room.totals + i * LANES, all(0.f));
    for (int c = 0; c < head_dim; c += LANES) store(room.sums + i * MAX_HEAD_DIM + c, all(0.f));
  }
  for (int start = 0; start < partners.count; start += KEY_BLOCK) {
    const long slot = partners.slot + start;
    const int left = partners.count - start;
    const int panels = left < KEY_BLOCK ? (left + PANEL - 1) / PANEL : KEY_PANELS;
    for (int row = 0; row < rows.count; row += TILE_ROWS) {
      const long query = head * tokens.capacity + rows.token + row;
      float* totals = room.totals + row * LANES;
      float* sums = room.sums + row * MAX_HEAD_DIM;
      float* peaks = room.peaks + row;
      float before[TILE_ROWS];
      for (int i = 0; i < TILE_ROWS; ++i) before[i] = peaks[i];
      score<T>(tokens, head, tokens.queries + query * QUERY_WORDS<T>, tokens.query_scales + query, slot, panels,
               room.scores, peaks);
      for (int i = 0; start && i < TILE_ROWS; ++i) {
        if (before[i] == peaks[i]) continue;
        const Float factor = exp2_of<true>(all(before[i] - peaks[i]));
        store(totals + i * LANES, mul(load(totals + i * LANES), factor));
        for (int c = 0; c < head_dim; c += LANES)
          store(sums + i * MAX_HEAD_DIM + c, mul(load(sums + i * MAX_HEAD_DIM + c), factor));
      }
      weigh<T>(room.scores, peaks, tokens.value_inverses + head * tokens.slots + slot, panels, room.weights, totals);
      for (int c = 0; c < head_dim; c += PANEL) {
        const int32_t* values = value_block<T>(tokens, head, slot / KEY_BLOCK, c / PANEL);
        tile<T, VALUE_STEPS<T>>(room.weights, values, panels * (PANEL / T::NUMBERS), [&](int i, int half, Float value) {
          float* place = sums + i * MAX_HEAD_DIM + c + half * LANES;
          store(place, add(load(place), value));
        });
      }
    }
  }
  for (int row = 0; row < rows.count; ++row) {
    const Float factor = all(1 / sum_of(load(room.totals + row * LANES)));
    float* context = tokens.context + (rows.token + row) * tokens.width + head * head_dim;
    for (int c = 0; c < head_dim; c += LANES)
      store(context + c, mul(load(room.sums + row * MAX_HEAD_DIM + c), factor));
  }
}

}  // namespace
