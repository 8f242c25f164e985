// What the networks of extractors ask of the native kernels. Weights called packed are what photoglue_pack made of them;
// maps are height x width x channels, their channels 8 or multiples of 16.
#pragma once
#include <cstdint>

namespace photoglue {

// Block 1 of ALIKED for an image that is padded by repeating its edges; padded sides are multiples of 4.
struct FirstBlock {
  const float* planes[3];         // of the image, rows without gaps
  const float *weights1, *bias1;  // 27 taps x channels
  const float *weights2, *bias2;  // packed
  float *fine, *halved;           // the result, and its means over 2 x 2 pixels
  int32_t height, width, channels;
  int32_t corner[2], image_size[2];  // (x, y) of the image's first pixel in the padded one, and its (width, height)
};

// Block 2 of ALIKED: sides are multiples of 4.
struct SecondBlock {
  const float* maps;
  const float *weights1, *bias1, *weights2, *bias2, *shortcut, *shortcut_bias, *reduction;  // packed
  float *reduced, *pooled;  // the result through the reduction and a gate, and its means over 4 x 4 pixels
  int32_t height, width, inputs, outputs, quarter;
};

// The score head of ALIKED: the width is a multiple of 32, a quarter of the joined map at most 64.
struct ScoreHead {
  const float *fine, *fine_weights;  // packed
  const float* mix[4];               // packed: the quarters of the first layer
  const float* coarse[3];
  const float* convs[3];             // outputs x inputs x 3 x 3
  float* scores;
  int32_t height, width, channels, quarter, heights[3], widths[3];
};

// A deformable convolution of 3 x 3 and what comes after it.
struct Deform {
  const float* maps;
  const float *offset_weights, *offset_bias;  // packed
  const float *weights, *bias;                // packed, of 9 x inputs
  const float* add;                           // of the result's size, or nullptr
  float* result;                              // gated
  int32_t height, width, inputs, outputs;
};

// The descriptor head of ALIKED. Positions are pixels of the image, whose first is `corner` in the maps.
struct Describe {
  const float *fine, *fine_weights;  // packed
  const float* coarse[3];
  const float* points;                                       // count x 2
  const float *hidden, *hidden_bias, *offset, *offset_bias;  // packed
  const float *samples, *seen;                               // packed
  float* descriptors;
  int32_t height, width, channels, quarter, heights[3], widths[3];
  int32_t corner[2], image_size[2], count, sampled;
};

// A 3 x 3 convolution of a map and a ReLU; its result, or its maxima over 2 x 2 pixels.
struct Conv {
  const float *maps, *weights, *bias;  // packed
  float* result;
  int32_t height, width, inputs, outputs, halved;
};

// The first two 3 x 3 convolutions of a plane with one pixel of zeros around, ReLUs, and the maxima over 2 x 2 pixels.
struct Opening {
  const float *plane, *weights1, *bias1;  // 9 taps x channels
  const float *weights2, *bias2;          // packed
  float* result;
  int32_t height, width, channels;  // at least 8 wide
};

// A linear layer of rows, if wanted with a SELU.
struct Pointwise {
  const float *rows, *weights, *bias;  // packed; the bias may be nullptr
  float* result;
  int32_t count, inputs, outputs, gated;
};

// A map of half the size, upsampled, and beside it a map of this size; each with the factors and summands of its norm, and
// then gates with these slopes. The first may be missing, with no channels.
struct JoinedMaps {
  const float *below, *below_factor, *below_shift, *beside, *beside_factor, *beside_shift, *slopes;
  int32_t height, width, below_channels, beside_channels;
};

// A 5 x 5 convolution of joined maps, and the means of the result over 2 x 2 pixels, unless nullptr.
struct DiskConv {
  JoinedMaps maps;
  const float *weights, *bias;  // packed
  float *result, *pooled;
  int32_t outputs, unused;
};

// The 5 x 5 convolution of three planes with two pixels of zeros around. Sides are even, the width at least 8.
struct DiskFirst {
  const float *planes, *weights, *bias;  // 75 taps x outputs
  float *result, *pooled;
  int32_t height, width, outputs;
};

// The mean of each row and channel, and the mean of squared differences from it: rows x 2 x channels.
struct Moments {
  const float* maps;
  float* result;
  int32_t height, width, channels, doubled;
};

// A 5 x 5 convolution of joined maps with one output.
struct DiskLogits {
  JoinedMaps maps;
  const float *weights, *bias;  // packed: the taps, column by column of the kernel
  float* result;
};

// A 5 x 5 convolution of joined maps at count pixels (x, y).
struct DiskDescribe {
  JoinedMaps maps;
  const float *weights, *bias;  // packed
  const int32_t* pixels;
  float* result;
  int32_t count, outputs;
};

// The points above a threshold that `iterated_maxima` finds.
struct Maxima {
  const float* scores;
  uint8_t* found;
  int32_t height, width, radius, rounds;
  float threshold;
};

struct ExtractKernels {
  void (*pack)(const float*, int, int, int, float*);
  void (*first_block)(const FirstBlock&, int, int);    // groups of 4 rows
  void (*second_block)(const SecondBlock&, int, int);  // groups of 4 rows
  void (*score_head)(const ScoreHead&, int, int);      // rows
  void (*deform)(const Deform&, int, int);             // groups of 4 rows
  void (*describe)(const Describe&, int, int);         // points
  void (*maxima)(const Maxima&, int, int);             // rows
  void (*convolve)(const Conv&, int, int);             // groups of 4 rows
  void (*opening)(const Opening&, int, int);           // groups of 4 rows
  void (*pointwise)(const Pointwise&, int, int);       // 48 rows
  void (*disk_conv)(const DiskConv&, int, int);        // groups of 2 rows
  void (*disk_first)(const DiskFirst&, int, int);      // groups of 2 rows
  void (*moments)(const Moments&, int, int);           // rows
  void (*disk_logits)(const DiskLogits&, int, int);    // rows
  void (*disk_describe)(const DiskDescribe&, int, int);  // points
};

const ExtractKernels* extract_kernels_avx512();
const ExtractKernels* extract_kernels_avx2();
const ExtractKernels* extract_kernels_neon();

}  // namespace photoglue
