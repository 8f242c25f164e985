// Softmax attention to the base 2, some rows and all their keys at a time; nothing but the result is kept.
//
// Scores arrive multiplied by log2(e) / √(channels of a head). Keys come in blocks; where a block has a higher score
// than those before, what was summed is scaled down ("online softmax"). As integers, weights are at most MAX_WEIGHT.
// Values have a scale for each key: it multiplies the weight, as log2 added to the score, so that the sums need no
// other scale; the total of the weights is taken without it.
#pragma once
// Included after one of the files that define vectors.

#include "layer.hpp"

namespace {

using photoglue::Partners;

constexpr float LOWEST = -1e30f;
template <class T>
constexpr float LIFT = T::EXACT ? 0.f : 12.9998f;  // log2 of a little less than MAX_WEIGHT + 1
template <class T>
constexpr float NEGLIGIBLE = T::EXACT ? -26.f : -14.f;

// The scores of a tile of rows and a block of keys; `peaks` get the largest of each row and those before it.
template <class T>
PHOTOGLUE_INLINE void score(const Tokens& tokens, int head, long query, long slot, int panels, Scratch<T>& room,
                            float* peaks) {
  const int words = tokens.width / tokens.heads / T::NUMBERS;
  const long first = head * tokens.slots + slot;
  const float *query_scales = tokens.query_scales + query, *key_scales = tokens.key_scales + first,
              *key_biases = tokens.key_biases + first;
  for (int i = 0; i < TILE_ROWS; ++i) store(room.largest + i * LANES, all(peaks[i]));
  products<T, QUERY_WORDS<T>>(
      panels, [&](int) { return tokens.queries + query * QUERY_WORDS<T>; }, 1,
      [&](int panel, int) { return tokens.keys + (first + panel * PANEL) * words; }, words,
      [&](int panel) {
        return [&, panel](int i, Float left, Float right) {
          const float *scale = key_scales + panel * PANEL, *bias = key_biases + panel * PANEL;
          if constexpr (T::EXACT) {
            left = add(left, load(bias));
            right = add(right, load(bias + LANES));
          } else {
            left = fma(mul(left, load(scale)), all(query_scales[i]), load(bias));
            right = fma(mul(right, load(scale + LANES)), all(query_scales[i]), load(bias + LANES));
          }
          float* to = room.scores + i * KEY_BLOCK + panel * PANEL;
          store(to, left);
          store(to + LANES, right);
          store(room.largest + i * LANES, larger(load(room.largest + i * LANES), larger(left, right)));
        };
      });
  for (int i = 0; i < TILE_ROWS; ++i) peaks[i] = largest_of(load(room.largest + i * LANES));
}

// The weights of a tile of rows and a panel of keys, as words for the product with values (a part of those of a group);
// adds to the totals.
template <class T>
PHOTOGLUE_INLINE void weigh(const float* scores, const float* peaks, const float* inverses, int32_t* weights, int part,
                            float* totals) {
  for (int i = 0; i < TILE_ROWS; ++i) {
    const Float shift = all(LIFT<T> - peaks[i]);
    const Float low = exp2_of<T::EXACT>(add(load(scores + i * KEY_BLOCK), shift));
    const Float high = exp2_of<T::EXACT>(add(load(scores + i * KEY_BLOCK + LANES), shift));
    int32_t* to = weights + i * KEY_BLOCK;
    Float total = load(totals + i * LANES);
    if constexpr (T::EXACT) {
      store(to, bits(low));
      store(to + LANES, bits(high));
      total = add(total, add(low, high));
    } else {
      T::put_weights(to, part, rounded(low), rounded(high));
      total = fma(low, load(inverses), total);
      total = fma(high, load(inverses + LANES), total);
    }
    store(totals + i * LANES, total);
  }
}

// Whether no weight of a tile of rows and a panel of keys counts: less than NEGLIGIBLE, log2 of a share of the row's
// largest, with its value's scale (it rounds to 0) as without (`biases` tell what a scale can add, `high` is the most
// of all keys).
template <class T>
PHOTOGLUE_INLINE bool negligible(const float* scores, const float* peaks, const float* biases, float high) {
  Float most = all(LOWEST);
  for (int i = 0; i < TILE_ROWS; ++i) {
    const Float both = larger(load(scores + i * KEY_BLOCK), load(scores + i * KEY_BLOCK + LANES));
    most = larger(most, sub(both, all(peaks[i])));
  }
  const float low = -largest_of(sub(all(0.f), smaller(load(biases), load(biases + LANES))));
  return largest_of(most) + (high - low) < NEGLIGIBLE<T>;
}

template <class T>
void attend(const Tokens& tokens, Rows rows, Partners partners, int head, void* scratch) {
  [[maybe_unused]] const typename T::Session session;
  auto& room = *static_cast<Scratch<T>*>(scratch);
  const int head_dim = tokens.width / tokens.heads;
  for (int i = 0; i < BLOCK_ROWS; ++i) {
    room.peaks[i] = LOWEST;
    store(room.totals + i * LANES, all(0.f));
    for (int c = 0; c < head_dim; c += LANES) store(room.sums + i * MAX_HEAD_DIM + c, all(0.f));
  }
  Float highest = all(LOWEST);  // bias
  for (int key = 0; key < partners.count; key += LANES)
    highest = larger(highest, load(tokens.key_biases + head * tokens.slots + partners.slot + key));
  const float high = largest_of(highest);
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
      score<T>(tokens, head, query, slot, panels, room, peaks);
      for (int i = 0; start && i < TILE_ROWS; ++i) {
        if (before[i] == peaks[i]) continue;
        const Float factor = exp2_of<true>(all(before[i] - peaks[i]));
        store(totals + i * LANES, mul(load(totals + i * LANES), factor));
        for (int c = 0; c < head_dim; c += LANES)
          store(sums + i * MAX_HEAD_DIM + c, mul(load(sums + i * MAX_HEAD_DIM + c), factor));
      }
      constexpr int STEPS = T::GROUP * PANEL / T::NUMBERS;
      auto* weights = reinterpret_cast<int32_t*>(room.scores);
      int counting[KEY_PANELS], count = 0;
      for (int group = 0; group < panels; group += T::GROUP) {
        const float* scores = room.scores + group * PANEL;
        const long key = head * tokens.slots + slot + group * PANEL;
        bool counts[T::GROUP], any = false;
        for (int i = 0; i < T::GROUP; ++i) {
          counts[i] = group + i < panels &&
                      !negligible<T>(scores + i * PANEL, peaks, tokens.key_biases + key + i * PANEL, high);
          any |= counts[i];
        }
        if (!any) continue;
        for (int i = 0; i < T::GROUP; ++i) {
          if (counts[i])
            weigh<T>(scores + i * PANEL, peaks, tokens.value_inverses + key + i * PANEL, weights + count * STEPS, i,
                     totals);
          else if constexpr (T::GROUP > 1)
            for (int r = 0; r < TILE_ROWS; ++r)
              T::put_weights(weights + r * KEY_BLOCK + count * STEPS, i, all(0), all(0));
        }
        counting[count++] = group / T::GROUP;
      }
      const int32_t* values = value_block<T>(tokens, head, slot / KEY_BLOCK);
      products<T, KEY_BLOCK>(
          count ? head_dim / PANEL : 0, [&](int) { return weights; }, count,
          [&](int panel, int i) { return values + (panel * VALUE_STEPS<T> + counting[i] * STEPS) * PANEL; }, STEPS,
          [&](int panel) {
            return [&, panel](int i, Float left, Float right) {
              float* place = sums + i * MAX_HEAD_DIM + panel * PANEL;
              store(place, add(load(place), left));
              store(place + LANES, add(load(place + LANES), right));
            };
          });
    }
  }
  for (int row = 0; row < rows.count; ++row) {
    const Float factor = all(1 / sum_of(load(room.totals + row * LANES)));
    float* context = tokens.context + (rows.token + row) * tokens.width + head * head_dim;
    for (int c = 0; c < head_dim; c += LANES) store(context + c, mul(load(room.sums + row * MAX_HEAD_DIM + c), factor));
  }
}

}  // namespace
