// Products of int16 by AMX, whose tiles multiply bytes: with the upper byte of a number (signed) and the lower one
// (not),
//
//     a · b = 2¹⁶ · upper(a) · upper(b) + 2⁸ · (upper(a) · lower(b) + lower(a) · upper(b)) + lower(a) · lower(b)
//
// The three kinds are summed apart and put together at last, all modulo 2³². As no whole sum overflows (MAX_NORM), that
// is the very sum that other instruction sets arrive at.
//
// A row is, for every 64 of its numbers, 16 words of upper bytes and 16 of lower ones. A panel is, for every 64 of its
// rows, of the first and of the second LANES columns: a tile of upper bytes, a tile of lower ones. A tile is 16 words,
// of four numbers below each other, for each of LANES columns.
#pragma once
// Included by product.hpp.

namespace {

constexpr int TILE_WORDS = 16 * LANES, TILE_SUMS = TILE_ROWS * LANES;
typedef uint32_t Unsigned __attribute__((vector_size(64)));  // overflows as it should

// Without these the compiler is free to move its own loads and stores across.
#define PHOTOGLUE_TILE_LOAD(tile, from, stride) \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile::"r"(from), "r"(static_cast<long long>(stride)) : "memory")
#define PHOTOGLUE_TILE_STORE(tile, to) \
  __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(to), "r"(64LL) : "memory")
#define PHOTOGLUE_TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile:::)
// Adds rows in tile 7 times columns in tile 6; signs are of rows and columns: s or u.
#define PHOTOGLUE_TILE_PRODUCT(signs, tile) __asm__ volatile("tdpb" #signs "d %%tmm6, %%tmm7, %%tmm" #tile:::)

struct alignas(64) TileShapes {
  uint8_t palette = 1, first_row = 0, unused[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS, 16, TILE_ROWS};
};

// Where `packed` puts the lower bytes of its numbers, then where the upper ones.
struct alignas(64) Bytes {
  uint8_t place[64] = {};
  constexpr Bytes() {
    for (int i = 0; i < 64; ++i) {
      const int number = i % LANES;
      place[i] = static_cast<uint8_t>(number / 4 * 16 + i % 32 / LANES * 8 + number % 4 * 2 + i / 32);
    }
  }
};
constexpr Bytes SPLIT_BYTES{};

struct TiledInt16 {
  static constexpr int NUMBERS = 2;
  static constexpr bool EXACT = false, TILED = true;
  static constexpr int GROUP = 2;         // panels of keys that are one step of a product with their values
  static constexpr int TOKENS = 4;        // whose values are words together
  static constexpr int VALUE_KEYS = 256;  // that the values of a block of keys have room for

  // Tiles have a shape only while a thread multiplies: what they hold is saved whenever the thread is put aside.
  class Session {
   public:
    Session() {
      static constexpr TileShapes SHAPES;
      __asm__ volatile("ldtilecfg %0" ::"m"(SHAPES));
    }
    ~Session() { __asm__ volatile("tilerelease" :::); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
  };

  // 2 · LANES numbers: their lower bytes, then their upper ones.
  PHOTOGLUE_INLINE_MEMBER __m512i split(Int low, Int high) {
    return _mm512_permutexvar_epi8(_mm512_load_si512(SPLIT_BYTES.place), (__m512i)packed(low, high));
  }

  static constexpr int AT_ONCE = 4;
  PHOTOGLUE_INLINE_MEMBER void put(int32_t* words, int c, const Int* numbers) {
    const __m512i first = split(numbers[0], numbers[1]), second = split(numbers[2], numbers[3]);
    store(words + c / 2, (Int)_mm512_shuffle_i64x2(first, second, 0xee));
    store(words + c / 2 + LANES, (Int)_mm512_shuffle_i64x2(first, second, 0x44));
  }

  // Weights of a panel of keys, the first or second of a group.
  PHOTOGLUE_INLINE_MEMBER void put_weights(int32_t* words, int part, Int low, Int high) {
    const __m512i both = split(low, high);
    auto* bytes = reinterpret_cast<__m256i*>(words) + part;
    _mm256_storeu_si256(bytes, _mm512_extracti64x4_epi64(both, 1));
    _mm256_storeu_si256(bytes + 2, _mm512_castsi512_si256(both));
  }

  // Where the words of a panel's column begin; one word further is LANES words on.
  PHOTOGLUE_INLINE_MEMBER int column(int column) { return column / LANES * 2 * TILE_WORDS + column % LANES; }
  static constexpr int COLUMN_STEP = LANES;

  // Values of TOKENS keys of a block, of LANES channels from c on; `panels` are those of the block.
  PHOTOGLUE_INLINE_MEMBER void put_values(int32_t* panels, long key, int c, const Int* numbers) {
    constexpr long panel = VALUE_KEYS / 2 * PANEL;
    int32_t* place = panels + c / PANEL * panel + key / 64 * 4 * TILE_WORDS + column(c % PANEL) + key % 64 / 4 * LANES;
    const auto words = [&](int shift) {
      const auto byte = [&](int i) { return (Unsigned)numbers[i] >> shift & 255; };
      return (Int)(byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24);
    };
    store(place, words(8));
    store(place + TILE_WORDS, words(0));
  }

  // See `products`.
  template <int LDA, class Rows_, class Panel, class Finish>
  PHOTOGLUE_INLINE_MEMBER void multiply(int tiles, Rows_ rows, int panels, Panel panel, long steps, Finish finish) {
    alignas(64) int32_t sums[6 * TILE_SUMS];
    for (int tile = 0; tile < tiles; ++tile) {
      PHOTOGLUE_TILE_ZERO(0);
      PHOTOGLUE_TILE_ZERO(1);
      PHOTOGLUE_TILE_ZERO(2);
      PHOTOGLUE_TILE_ZERO(3);
      PHOTOGLUE_TILE_ZERO(4);
      PHOTOGLUE_TILE_ZERO(5);
      const int32_t* a = rows(tile);
      for (int i = 0; i < panels; ++i) {
        const int32_t* b = panel(tile, i);
        for (long step = 0; step < steps; step += 2 * LANES, a += 2 * LANES, b += 4 * TILE_WORDS) {
          // In an order in which no sum waits for its last product, and few tiles are loaded twice.
          PHOTOGLUE_TILE_LOAD(7, a, LDA * 4);
          PHOTOGLUE_TILE_LOAD(6, b, 64);
          PHOTOGLUE_TILE_PRODUCT(ss, 0);
          PHOTOGLUE_TILE_LOAD(6, b + 2 * TILE_WORDS, 64);
          PHOTOGLUE_TILE_PRODUCT(ss, 3);
          PHOTOGLUE_TILE_LOAD(6, b + 3 * TILE_WORDS, 64);
          PHOTOGLUE_TILE_PRODUCT(su, 4);
          PHOTOGLUE_TILE_LOAD(6, b + TILE_WORDS, 64);
          PHOTOGLUE_TILE_PRODUCT(su, 1);
          PHOTOGLUE_TILE_LOAD(7, a + LANES, LDA * 4);
          PHOTOGLUE_TILE_PRODUCT(uu, 2);
          PHOTOGLUE_TILE_LOAD(6, b + 3 * TILE_WORDS, 64);
          PHOTOGLUE_TILE_PRODUCT(uu, 5);
          PHOTOGLUE_TILE_LOAD(6, b + 2 * TILE_WORDS, 64);
          PHOTOGLUE_TILE_PRODUCT(us, 4);
          PHOTOGLUE_TILE_LOAD(6, b, 64);
          PHOTOGLUE_TILE_PRODUCT(us, 1);
        }
      }
      PHOTOGLUE_TILE_STORE(0, sums);
      PHOTOGLUE_TILE_STORE(1, sums + TILE_SUMS);
      PHOTOGLUE_TILE_STORE(2, sums + 2 * TILE_SUMS);
      PHOTOGLUE_TILE_STORE(3, sums + 3 * TILE_SUMS);
      PHOTOGLUE_TILE_STORE(4, sums + 4 * TILE_SUMS);
      PHOTOGLUE_TILE_STORE(5, sums + 5 * TILE_SUMS);
      const auto of_tile = finish(tile);
      for (int row = 0; row < TILE_ROWS; ++row) put_together(sums, row, of_tile);
    }
  }

  template <class Finish>
  PHOTOGLUE_INLINE_MEMBER void put_together(const int32_t* sums, int row, const Finish& finish) {
    const auto half_of = [](const int32_t* of_row) {
      const auto upper = (Unsigned)load(of_row), mixed = (Unsigned)load(of_row + TILE_SUMS),
                 lower = (Unsigned)load(of_row + 2 * TILE_SUMS);
      return to_float((Int)((((upper << 8) + mixed) << 8) + lower));
    };
    finish(row, half_of(sums + row * LANES), half_of(sums + 3 * TILE_SUMS + row * LANES));
  }
};

}  // namespace
