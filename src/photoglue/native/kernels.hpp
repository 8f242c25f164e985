// What the kernels of all instruction sets have in common: the structures that they work on, and the table of each set.
#pragma once
#include <cstdint>

namespace photoglue {

constexpr int MAX_WIDTH = 256;    // channels of a state
constexpr int MAX_HEAD_DIM = 64;  // channels of a head
constexpr int HEAD_STEP = 32;     // its channels are a multiple of this

// The Euclidean norm that int16 vectors of a product are scaled to, at most: rounding adds 12 (512 numbers move by half
// of one at most). By Cauchy and Schwarz, sums over any part of the channels, in whatever order, are at most (46328 +
// 12)² = 2147395600 < 2³¹: no sum overflows.
constexpr float MAX_NORM = 46328.f;
constexpr float MAX_INT16 = 32767.f;
constexpr int KEY_BLOCK = 224;  // keys between two roundings of attention's sums: a multiple of every panel

// A linear layer, its weights as panels (product.hpp): y = (x · words) · scale + bias.
struct Linear {
  const int32_t* words;
  const float* scale;  // of each output
  const float* bias;
  int inputs, outputs;
};

// From a block's context, heads side by side, to the new state. The first layer takes state and context.
struct FeedForward {
  Linear of_state, of_context;
  const float* norm_weight;
  const float* norm_bias;
  Linear second;
};

// All tokens of a pass. Each image has a range of slots for its keys that begins with a block of keys; a slot that no
// token has, in a block that others have, has a bias of -1e30.
struct Tokens {
  int width, heads;
  long slots;     // of all images
  long capacity;  // tokens that there is room for, with a tile of rows to spare
  float* x;       // tokens × width
  float* cosine;  // tokens × half a head
  float* sine;
  float* context;         // tokens × width
  int32_t* queries;       // heads × capacity × words of MAX_HEAD_DIM
  float* query_scales;    // heads × capacity
  int32_t* keys;          // heads × slots × words of a head, in panels of keys
  float* key_scales;      // heads × slots
  float* key_biases;      // heads × slots: log2 of the value's scale, which the weights take along
  float* value_inverses;  // heads × slots: 1 / the value's scale
  int32_t* values;        // heads × blocks of keys × words, for each block in panels of channels
};

// Some tokens of one image.
struct Rows {
  long token;  // the first
  int count;   // at most `block_rows`
  long slot;   // of the first
};

// What some tokens of an image attend to.
struct Partners {
  long slot;
  int count;
};

// Two images when their matches are read off, see assignment.hpp.
struct Pairing {
  int width;
  long rows, columns;     // points of either image
  long stride;            // between rows of the table: columns, rounded up to panels, and a cache line
  const float* x;         // rows × width
  const int32_t* panels;  // the other image's, as a linear layer's weights
  float* kept;            // the table, rows rounded up to tasks; null if it is computed twice
  float* row;             // log2 of the sum of a row; then what is added to its similarities
  const float* column;    // what is added to a column's similarities
  float* peaks;           // for each task and column: the largest similarity; then the largest probability
  float* sums;            // for each task and column: the sum of 2^(similarity - peak)
  float* best;            // of each row: log2 of the largest probability
  int32_t* choice;        // and the column that has it
};

struct Kernels {
  int panel;       // columns of a panel
  int numbers;     // in a word: 2 for int16, 1 for float
  bool tiled;      // whether panels are those of tiles_amx.hpp
  int block_rows;  // rows that a task takes
  int tile_rows;
  int value_keys;  // that the values of a block of keys have room for
  long scratch;    // bytes that each thread needs, aligned to 64

  // Queries, keys and values of both blocks; those of self-attention are turned by their positions.
  void (*project_own)(const Tokens&, const Linear&, Rows, void* scratch);
  void (*project_cross)(const Tokens&, const Linear&, Rows, void* scratch);
  // The context of some tokens and one head.
  void (*attend)(const Tokens&, Rows, Partners, int head, void* scratch);
  // The new states from states and contexts.
  void (*feed_forward)(const Tokens&, const FeedForward&, Rows, void* scratch);
  // x · weight + bias for each row of width channels.
  void (*logits)(const float* x, long rows, int width, const float* weight, float bias, float* out);
  // Sums of some rows and columns of a table of similarities, and the maxima after those are known. `table` has room
  // for block_rows × stride numbers where the pairing keeps none. Floats only.
  void (*sum_up)(const Pairing&, long row, int count, float* table, void* scratch);
  void (*choose)(const Pairing&, long row, int count, float* table, void* scratch);
  // Does nothing but `repeats` products of a tile of rows and a panel; returns the operations.
  double (*products)(long repeats, void* scratch);
  // Rows of a linear layer.
  void (*linear)(const float* x, int rows, const Linear&, float* out, void* scratch);
};

// The table of the chosen instruction set for int16 or float, and products of so many channels or a multiple; null if
// there is none.
const Kernels* kernels(bool int16, int channels);

const Kernels* kernels_amx(bool int16);  // null for floats; 64 channels
const Kernels* kernels_avx512vnni(bool int16);
const Kernels* kernels_avxvnni(bool int16);
const Kernels* kernels_avx2(bool int16);

}  // namespace photoglue
