// Products and convolutions of rows of pixels whose channels lie side by side, in float32.
//
// Convolutions are Winograd's (arXiv:1509.09308) with tiles of 6 x 6 pixels, whose transform of the input is the same for
// kernels of 3 x 3 (4 x 4 results a tile, a quarter of the multiplications) and of 5 x 5 (2 x 2 results, 9 of 25).
#pragma once
#include "halves.hpp"

namespace {

constexpr int PANEL = 2 * LANES;  // columns of a product that are computed together

// results[R x N vectors] = gate(bias + rows[R x depth] . weights[depth x N vectors]). HALVES: of 8 columns, and the depth is
// even: a vector of weights has two rows by turns.
template <int R, int N, Gate G, bool HALVES>
inline void product_block(const float* rows, int row_stride, int depth, const float* weights, const float* bias,
                          float* results, int result_stride) {
  Vec sums[R][N], starts[N];
#pragma GCC unroll 2
  for (int n = 0; n < N; ++n) {
    starts[n] = bias ? load<HALVES>(bias + n * LANES, 0) : Vec{};
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) sums[r][n] = HALVES ? Vec{} : starts[n];
  }
  for (int k = 0; k < depth; k += HALVES ? 2 : 1) {
    Vec w[N];
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n, weights += LANES) w[n] = load(weights);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const Vec x = spread<HALVES>(rows + static_cast<size_t>(r) * row_stride + k);
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) sums[r][n] += x * w[n];
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; r += HALVES ? 2 : 1)
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) {
      const int next = r + 1 < R ? 1 : 0;
      const Vec sum = HALVES ? folded<HALVES>(sums[r][n], sums[r + next][n]) + starts[n] : sums[r][n];
      store<HALVES>(results + static_cast<size_t>(r) * result_stride + n * LANES, next * result_stride, gated<G>(sum));
    }
}

template <int N, Gate G, bool HALVES = false>
inline void product_panel(int count, const float* rows, int row_stride, int depth, const float* weights,
                          const float* bias, float* results, int result_stride) {
  constexpr int R = REGISTERS == 32 ? 12 : 12 / N;
  for (int r = 0; r < count;) {
    const float* from = rows + static_cast<size_t>(r) * row_stride;
    float* to = results + static_cast<size_t>(r) * result_stride;
    if (r + R <= count) {
      product_block<R, N, G, HALVES>(from, row_stride, depth, weights, bias, to, result_stride), r += R;
    } else if (r + 4 <= count) {
      product_block<4, N, G, HALVES>(from, row_stride, depth, weights, bias, to, result_stride), r += 4;
    } else {
      product_block<1, N, G, HALVES>(from, row_stride, depth, weights, bias, to, result_stride), r += 1;
    }
  }
}

// results[count x columns] = gate(bias + rows[count x depth] . weights). columns: a multiple of LANES, or 8; weights: one
// panel of depth x PANEL after the other, the last of which may be half as wide; bias: columns, or nullptr.
template <Gate G = Gate::none>
inline void product(int count, const float* rows, int row_stride, int depth, const float* weights, int columns,
                    const float* bias, float* results, int result_stride) {
  if (fill_half(columns)) return product_panel<1, G, true>(count, rows, row_stride, depth, weights, bias, results, result_stride);
  for (int c = 0; c < columns; c += PANEL) {
    const float *panel = weights + static_cast<size_t>(c) * depth, *start = bias ? bias + c : nullptr;
    if (c + PANEL <= columns)
      product_panel<2, G>(count, rows, row_stride, depth, panel, start, results + c, result_stride);
    else
      product_panel<1, G>(count, rows, row_stride, depth, panel, start, results + c, result_stride);
  }
}

inline void to_tile(const Vec* x, Vec* t, int step) {
  const Vec a = x[4] - 4.0f * x[2], b = x[3] - 4.0f * x[1], c = x[4] - x[2], d = x[3] - x[1];
  t[0] = 4.0f * x[0] + (a - x[2]);
  t[step] = a + b;
  t[2 * step] = a - b;
  t[3 * step] = c + 2.0f * d;
  t[4 * step] = c - 2.0f * d;
  t[5 * step] = (4.0f * x[1] + x[5]) - 5.0f * x[3];
}

// The results of a tile along one axis: 4 for a kernel of 3, 2 for one of 5.
template <int M>
inline void from_tile(const Vec* x, Vec* y) {
  const Vec s = x[1] + x[2], d = x[1] - x[2], e = x[3] + x[4], f = x[3] - x[4];
  y[0] = x[0] + s + e;
  if constexpr (M == 2) {
    y[1] = d + 2.0f * f + x[5];
  } else {
    y[1] = d + 2.0f * f;
    y[2] = s + 4.0f * e;
    y[3] = d + 8.0f * f + x[5];
  }
}

constexpr int TILE = 6, POSITIONS = TILE * TILE;

// A convolution's channels, both 8 or multiples of 16, its packed weights and its bias.
struct Kernel {
  int inputs, outputs;
  const float *weights, *bias;
};

// Weights as the products want them, from outputs x inputs x side x side: transformed to 36 matrices for a side of 3 or
// 5, one matrix for a side of 1, in panels. Outputs beyond the given ones, up to 8 or a multiple of 16, are zero.
inline void pack(const float* weights, int outputs, int inputs, int side, float* packed) {
  const int columns = outputs == FEW ? FEW : (outputs + 15) / 16 * 16, positions = side == 1 ? 1 : POSITIONS;
  double g[TILE][5] = {{0.25}, {}, {}, {}, {}, {}};
  for (int i = 1; i < 5; ++i) {
    const double point = (i % 2 ? 1 : -1) * (i < 3 ? 1 : 2);
    double power = i < 3 ? -1.0 / 6 : 1.0 / 24;
    for (int j = 0; j < side; ++j, power *= point) g[i][j] = power;
  }
  g[5][side - 1] = 1;
  if (side == 1) g[0][0] = 1;
  for (int p = 0; p < positions; ++p)
    for (int k = 0; k < inputs; ++k)
      for (int o = 0; o < columns; ++o) {
        double sum = 0;
        if (o < outputs)
          for (int r = 0; r < side; ++r)
            for (int c = 0; c < side; ++c)
              sum += g[p / TILE][r] * g[p % TILE][c] * weights[((static_cast<size_t>(o) * inputs + k) * side + r) * side + c];
        const int panel = o / PANEL * PANEL, wide = columns - panel < PANEL ? columns - panel : PANEL;
        const int at = fill_half(columns) ? (k - k % 2) * wide + 2 * o + k % 2 : k * wide + (o - panel);
        packed[(static_cast<size_t>(p) * columns + panel) * inputs + at] = static_cast<float>(sum);
      }
}

// Working memory of winograd_rows for one thread.
struct Tiles {
  const int at_once;  // a multiple of the rows of a block; more where many weights have to be read for them
  Buffer in, out;
  explicit Tiles(const Kernel& k)
      : at_once(k.inputs * k.outputs < 128 * 128 ? 24 : 48),
        in(static_cast<size_t>(POSITIONS) * at_once * k.inputs),
        out(static_cast<size_t>(POSITIONS) * at_once * k.outputs) {}
};

// Some tiles into the frame of their points: `in` is six rows of pixels, the first that of the first tile. HALVES: two
// tiles at once, since they have 8 channels.
template <int M, bool HALVES>
inline void transform(const Kernel& k, int count, const float* const* in, size_t offset, const Tiles& tiles) {
  const size_t step = static_cast<size_t>(tiles.at_once) * k.inputs;
  for (int t = 0; t < count; t += HALVES ? 2 : 1)
    for (int c = 0; c < k.inputs; c += LANES) {
      const int apart = t + 1 < count ? M * k.inputs : 0;
      Vec half[TILE][TILE];
#pragma GCC unroll 6
      for (int i = 0; i < TILE; ++i) {
        Vec x[TILE];
#pragma GCC unroll 6
        for (int r = 0; r < TILE; ++r) x[r] = load<HALVES>(in[r] + offset + (static_cast<size_t>(t) * M + i) * k.inputs + c, apart);
        to_tile(x, &half[0][i], TILE);
      }
      float* to = tiles.in.get() + static_cast<size_t>(t) * k.inputs + c;
#pragma GCC unroll 6
      for (int r = 0; r < TILE; ++r) {
        Vec y[TILE];
        to_tile(half[r], y, 1);
#pragma GCC unroll 6
        for (int i = 0; i < TILE; ++i) store(to + (r * TILE + i) * step, y[i]);
      }
    }
}

// Tiles first ... first + some back to pixels: rows of `width` pixels.
template <int M, Gate G, bool HALVES>
inline void transform_back(const Kernel& k, const Tiles& tiles, int first, int some, int width, float* const* out, const float* const* add) {
  const size_t step = static_cast<size_t>(tiles.at_once) * k.outputs;
  for (int t = 0; t < some; t += HALVES ? 2 : 1)
    for (int c = 0; c < k.outputs; c += LANES) {
      Vec half[M][TILE];
      const float* from = tiles.out.get() + static_cast<size_t>(t) * k.outputs + c;
#pragma GCC unroll 6
      for (int i = 0; i < TILE; ++i) {
        Vec x[TILE], y[M];
#pragma GCC unroll 6
        for (int r = 0; r < TILE; ++r) x[r] = load(from + (r * TILE + i) * step);
        from_tile<M>(x, y);
#pragma GCC unroll 4
        for (int r = 0; r < M; ++r) half[r][i] = y[r];
      }
      const Vec bias = load<HALVES>(k.bias + c, 0);
      const int x0 = (first + t) * M, columns = least(M, width - x0);
      for (int r = 0; r < M; ++r) {
        if (!out[r]) continue;
        Vec y[M];
        from_tile<M>(half[r], y);
        for (int i = 0; i < columns; ++i) {
          const size_t at = static_cast<size_t>(x0 + i) * k.outputs + c;
          const int apart = t + 1 < some && x0 + M + i < width ? M * k.outputs : 0;
          Vec v = y[i] + bias;
          if (add) v += load<HALVES>(add[r] + at, apart);
          store<HALVES>(out[r] + at, apart, gated<G>(v));
        }
      }
    }
}

// M rows of results from six rows of pixels. in: rows with (6 - M) / 2 pixels of padding on the left, and enough on the
// right for whole tiles; out: rows of `width` pixels, nullptr: not wanted; add: summands before the gate, or nullptr.
template <int M, Gate G>
inline void winograd_rows(const Kernel& k, Tiles& tiles, int width, const float* const* in, float* const* out,
                          const float* const* add) {
  const int count = (width + M - 1) / M;
  const size_t in_step = static_cast<size_t>(tiles.at_once) * k.inputs, out_step = static_cast<size_t>(tiles.at_once) * k.outputs;
  for (int first = 0; first < count; first += tiles.at_once) {
    const int some = least(tiles.at_once, count - first);
    (fill_half(k.inputs) ? transform<M, true> : transform<M, false>)(k, some, in, static_cast<size_t>(first) * M * k.inputs, tiles);
    for (int p = 0; p < POSITIONS; ++p)
      product(some, tiles.in.get() + p * in_step, k.inputs, k.inputs, k.weights + static_cast<size_t>(p) * k.inputs * k.outputs,
              k.outputs, nullptr, tiles.out.get() + p * out_step, k.outputs);
    (fill_half(k.outputs) ? transform_back<M, G, true> : transform_back<M, G, false>)(k, tiles, first, some, width, out, add);
  }
}

// A convolution that goes down a map, M rows at a time. `source(y, n, rows)` writes n rows of the input from row y on;
// what it writes for rows outside the map does not matter: there are zeros.
template <int M, Gate G, class Source>
struct Descent {
  static constexpr int PAD = (TILE - M) / 2, KEPT = TILE - M;
  const Kernel kernel;
  const int height, width;
  int y;
  Source source;
  Tiles tiles;
  const size_t row_size;
  Buffer memory;
  float* rows[TILE];

  Descent(const Kernel& k, int height, int width, int first, Source source)
      : kernel(k), height(height), width(width), y(first), source(source), tiles(k),
        row_size(static_cast<size_t>((width + M - 1) / M * M + 2 * PAD) * k.inputs), memory(TILE * row_size) {
    std::memset(memory.get(), 0, TILE * row_size * sizeof(float));
    for (int r = 0; r < TILE; ++r) rows[r] = memory.get() + r * row_size;
    fill(y - PAD, KEPT, rows + M);
  }

  // Rows y to y + M - 1 of the result into `out`.
  void next(float* const* out, const float* const* add = nullptr) {
    float* moved[TILE];
    for (int r = 0; r < TILE; ++r) moved[r] = rows[(r + M) % TILE];
    for (int r = 0; r < TILE; ++r) rows[r] = moved[r];
    fill(y - PAD + KEPT, M, rows + KEPT);
    winograd_rows<M, G>(kernel, tiles, width, rows, out, add);
    y += M;
  }

 private:
  void fill(int from, int count, float** to) {
    float* inner[TILE];
    for (int r = 0; r < count; ++r) inner[r] = to[r] + static_cast<size_t>(PAD) * kernel.inputs;
    source(from, count, inner);
    for (int r = 0; r < count; ++r)
      if (from + r < 0 || from + r >= height)
        std::memset(inner[r], 0, static_cast<size_t>(width) * kernel.inputs * sizeof(float));
  }
};

}  // namespace
