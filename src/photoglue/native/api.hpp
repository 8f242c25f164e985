// The C interface of the library. Whoever changes it changes PHOTOGLUE_ABI and library.py's ABI.
#pragma once
#include <cstdint>

#if defined(_WIN32)
#define PHOTOGLUE_EXPORT extern "C" __declspec(dllexport)
#else
#define PHOTOGLUE_EXPORT extern "C" __attribute__((visibility("default")))
#endif

#define PHOTOGLUE_ABI 5

// The number of this interface.
PHOTOGLUE_EXPORT int32_t photoglue_abi();

// The digest of the sources that the library was built from.
PHOTOGLUE_EXPORT const char* photoglue_sources();

// The instruction set that the kernels use here, "" if there are none for this processor.
PHOTOGLUE_EXPORT const char* photoglue_instruction_set();

// A LightGlue network, its weights packed for this processor; null if there are no kernels for such a one.
//
// Width: at most 256; channels of a head: 32 or 64. For each layer 22 pointers to floats: own and cross projection
// (weight, bias), the feed-forward networks of both (weight and bias of the first layer, of the norm, of the second),
// as folded.py makes them; matchability (weight, bias); final projection (weight, bias), multiplied so that products of
// its outputs are similarities to the base 2; confidence (weight, bias), null for the last layer.
PHOTOGLUE_EXPORT void* photoglue_lightglue_new(int32_t width, int32_t heads, int32_t layers, int32_t int16,
                                               const float* const* weights);
PHOTOGLUE_EXPORT void photoglue_lightglue_free(void* network);

// Pairs of images, 2i and 2i + 1 are pair i, with their tokens back to back; what is decided, and what comes out.
struct PhotoglueBatch {
  int32_t images;
  int32_t exits;             // whether pairs may exit
  int32_t prunes;            // whether points are pruned
  float exit_share;          // of confident points above which a pair exits
  float least_matchability;  // up to which a confident point is pruned
  float filter_threshold;    // of the score of a match
  int64_t pruning_min;       // images with more points are pruned
  const int32_t* lengths;    // points of each image, none is 0
  const int64_t* order;      // tokens, each image's among themselves: neighbours together, which saves time
  const float* x;            // states of all tokens
  const float* cosine;       // of their positions
  const float* sine;
  const float* confidence_thresholds;  // of each layer
  int32_t* stops;                      // out: layers that each pair ran
  int64_t* survived;                   // out: for each token 1 + the pruning steps that it survived
  int64_t* matches;                    // out: for each token its partner's number in the other image, or -1
  float* scores;                       // out
};

// Runs all layers; 0, or 1 if there is not enough memory.
PHOTOGLUE_EXPORT int32_t photoglue_lightglue_match(void* network, const PhotoglueBatch* batch, int32_t threads);

// For tests. Has networks that are made from now on use an instruction set; 1, or 0 if it is not here.
PHOTOGLUE_EXPORT int32_t photoglue_choose(const char* instruction_set);

// For benchmarks. Multiplies a tile of rows with a panel of 2 · MAX_WIDTH rows, both in the cache, so many times;
// returns the multiplications and additions, or 0 if there are no kernels.
PHOTOGLUE_EXPORT double photoglue_products(int32_t int16, int64_t repeats);

// For tests. All return 0, or 1 if there are no kernels for such sizes.
//
// rows × outputs = rows × inputs times a layer's weights, plus bias.
PHOTOGLUE_EXPORT int32_t photoglue_linear(int32_t int16, const float* x, int64_t rows, const float* weights,
                                          const float* bias, int32_t outputs, int32_t inputs, float* out);
// Self-attention of an image's tokens, count × width, without positions: heads side by side.
PHOTOGLUE_EXPORT int32_t photoglue_attend(int32_t int16, const float* x, int64_t count, const float* weights,
                                          const float* bias, int32_t width, int32_t heads, float* out);
