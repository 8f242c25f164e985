// From the similarities of two images' points to each row's best column, some rows at a time; in floats, to the base 2.
#pragma once
// Included after one of the files that define vectors.

#include "layer.hpp"

namespace {

using photoglue::Pairing;

constexpr float NOWHERE = -1e30f;

PHOTOGLUE_INLINE long columns_of_panels(const Pairing& pairing) {
  return (pairing.columns + PANEL - 1) / PANEL * PANEL;
}

// The similarities of some rows; columns past the last one have NOWHERE.
PHOTOGLUE_INLINE void fill_table(const Pairing& pairing, long row, int count, float* table, Scratch<Float32>& room) {
  quantise_rows<Float32>(pairing.x + row * pairing.width, count, pairing.width, room.input, room.scales[0]);
  for (long column = 0; column < pairing.columns; column += PANEL)
    products<Float32, INPUT_STRIDE<Float32>>(
        (count + TILE_ROWS - 1) / TILE_ROWS,
        [&](int tile) { return room.input + tile * TILE_ROWS * INPUT_STRIDE<Float32>; }, 1,
        [&](int, int) { return pairing.panels + column * pairing.width; }, pairing.width,
        [&](int tile) {
          return [&, tile](int r, Float left, Float right) {
            float* to = table + (tile * TILE_ROWS + r) * pairing.stride + column;
            store(to, left);
            store(to + LANES, right);
          };
        });
  for (int i = 0; i < count; ++i)
    for (long column = pairing.columns; column < columns_of_panels(pairing); ++column)
      table[i * pairing.stride + column] = NOWHERE;
}

void sum_up(const Pairing& pairing, long row, int count, float* table, void* scratch) {
  const long columns = columns_of_panels(pairing), task = row / BLOCK_ROWS;
  if (pairing.kept) table = pairing.kept + row * pairing.stride;
  fill_table(pairing, row, count, table, *static_cast<Scratch<Float32>*>(scratch));
  for (int i = 0; i < count; ++i) {
    const float* of_row = table + i * pairing.stride;
    Float largest = all(NOWHERE), sum = all(0.f);
    for (long column = 0; column < columns; column += LANES) largest = larger(largest, load(of_row + column));
    const float peak = largest_of(largest);
    for (long column = 0; column < columns; column += LANES)
      sum = add(sum, exp2_of<true>(sub(load(of_row + column), all(peak))));
    pairing.row[row + i] = peak + __builtin_log2f(sum_of(sum));
  }
  for (long column = 0; column < columns; column += LANES) {
    Float peak = all(NOWHERE), sum = all(0.f);
    for (int i = 0; i < count; ++i) peak = larger(peak, load(table + i * pairing.stride + column));
    for (int i = 0; i < count; ++i) sum = add(sum, exp2_of<true>(sub(load(table + i * pairing.stride + column), peak)));
    store(pairing.peaks + task * pairing.stride + column, peak);
    store(pairing.sums + task * pairing.stride + column, sum);
  }
}

void choose(const Pairing& pairing, long row, int count, float* table, void* scratch) {
  const long columns = columns_of_panels(pairing), task = row / BLOCK_ROWS;
  if (pairing.kept)
    table = pairing.kept + row * pairing.stride;
  else
    fill_table(pairing, row, count, table, *static_cast<Scratch<Float32>*>(scratch));
  alignas(64) float lanes[LANES], firsts[LANES], numbers[LANES];
  for (int lane = 0; lane < LANES; ++lane) numbers[lane] = static_cast<float>(lane);
  for (int i = 0; i < count; ++i) {
    float* of_row = table + i * pairing.stride;
    Float best = all(2 * NOWHERE), first = all(0.f);
    for (long column = 0; column < columns; column += LANES) {
      const Float sum =
          add(fma(all(2.f), load(of_row + column), load(pairing.column + column)), all(pairing.row[row + i]));
      store(of_row + column, sum);
      first = where_larger(sum, best, add(load(numbers), all(static_cast<float>(column))), first);  // exact below 2^24
      best = larger(best, sum);
    }
    store(lanes, best);
    store(firsts, first);
    int winner = 0;
    for (int lane = 1; lane < LANES; ++lane)
      if (lanes[lane] > lanes[winner] || (lanes[lane] == lanes[winner] && firsts[lane] < firsts[winner])) winner = lane;
    pairing.best[row + i] = lanes[winner];
    pairing.choice[row + i] = static_cast<int32_t>(firsts[winner]);
  }
  for (long column = 0; column < columns; column += LANES) {
    Float peak = all(2 * NOWHERE);
    for (int i = 0; i < count; ++i) peak = larger(peak, load(table + i * pairing.stride + column));
    store(pairing.peaks + task * pairing.stride + column, peak);
  }
}

}  // namespace
