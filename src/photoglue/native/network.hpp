// LightGlue as one call: layers, exits, pruning, matches. Decisions are those of adaptive.py.
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "api.hpp"
#include "pack.hpp"

namespace photoglue {

struct Layer {
  std::unique_ptr<PackedLinear> own, cross;
  std::unique_ptr<PackedLinear> packed[6];  // of the feed-forward networks
  Buffer<float> norms[4];
  FeedForward own_net, cross_net;
  std::unique_ptr<PackedLinear> final;
  Buffer<float> matchability, confidence;  // weights, and the bias at the end
};

struct Workspace;

class Network {
 public:
  Network(int width, int heads, int layers, bool int16, const float* const* weights);
  ~Network();

  void match(const PhotoglueBatch& batch, int threads);

  static bool fits(int width, int heads, bool int16);

 private:
  friend class Pass;

  const int width_, heads_;
  const Kernels& kernels_;
  const Kernels& floats_;
  std::vector<Layer> layers_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_;  // kept from call to call, one for each thread that calls at once
};

}  // namespace photoglue
