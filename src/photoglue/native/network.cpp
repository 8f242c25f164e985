#include "network.hpp"

#include <algorithm>
#include <cmath>

#include "assign.hpp"
#include "team.hpp"
#include "workspace.hpp"

namespace photoglue {
namespace {

constexpr int POINTERS = 22;  // of a layer, see api.hpp

FeedForward pack_net(const Kernels& kernels, const float* const* weights, int width,
                     std::unique_ptr<PackedLinear>* packed, Buffer<float>* norms) {
  const int hidden = 2 * width;
  packed[0] = pack_linear(kernels, weights[0], hidden, weights[1], hidden, width);
  packed[1] = pack_linear(kernels, weights[0] + width, hidden, nullptr, hidden, width);
  packed[2] = pack_linear(kernels, weights[4], hidden, weights[5], width, hidden);
  for (int i = 0; i < 2; ++i) std::copy_n(weights[2 + i], hidden, norms[i].room(hidden));
  return {packed[0]->layer, packed[1]->layer, norms[0].room(hidden), norms[1].room(hidden), packed[2]->layer};
}

float* with_bias(Buffer<float>& buffer, const float* weight, const float* bias, int width) {
  float* room = buffer.room(width + 1);
  std::copy_n(weight, width, room);
  room[width] = *bias;
  return room;
}

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

long rounded_up(long count, long step) { return (count + step - 1) / step * step; }

}  // namespace

// One call: the tokens at work, and what is done with them.
class Pass {
 public:
  Pass(Network& network, const PhotoglueBatch& batch, Workspace& work, int threads)
      : network_(network),
        kernels_(network.kernels_),
        batch_(batch),
        work_(work),
        team_(std::min(threads, tasks(batch))) {
    scratch_ = std::max(kernels_.scratch, network.floats_.scratch);
    work_.scratch.room(static_cast<size_t>(scratch_) * team_.size());
    take_in();
  }

  void run() {
    const int layers = static_cast<int>(network_.layers_.size());
    lay_out();
    for (int layer = 0; layer < layers && !work_.pairs.empty(); ++layer) {
      run_layer(network_.layers_[layer]);
      if (layer + 1 < layers && (batch_.exits || batch_.prunes)) adapt(layer);
    }
    finish(work_.pairs, layers);
  }

 private:
  void* scratch(int thread) { return work_.scratch.data() + scratch_ * thread; }

  // How many threads can have something to do.
  int tasks(const PhotoglueBatch& batch) const {
    long count = 0;
    for (int i = 0; i < batch.images; ++i) count += rounded_up(batch.lengths[i], kernels_.block_rows);
    return static_cast<int>(count / kernels_.block_rows);
  }

  // Copies the batch, and says that there are no matches.
  void take_in() {
    const int width = network_.width_, half = width / network_.heads_ / 2;
    long total = 0;
    work_.pairs.clear();
    for (int i = 0; i < batch_.images; i += 2) {
      work_.pairs.push_back(Pair{i / 2, total, {batch_.lengths[i], batch_.lengths[i + 1]}, {0, 0}});
      total += work_.pairs.back().count[0] + work_.pairs.back().count[1];
    }
    starts_.clear();
    for (const Pair& pair : work_.pairs) starts_.push_back(pair.start);
    tokens_.width = width;
    tokens_.heads = network_.heads_;
    tokens_.capacity = total + kernels_.tile_rows;
    tokens_.x = work_.x.room(total * width);
    tokens_.cosine = work_.cosine.room(total * half);
    tokens_.sine = work_.sine.room(total * half);
    tokens_.context = work_.context.room(total * width);
    tokens_.queries = work_.queries.room(network_.heads_ * tokens_.capacity * (MAX_HEAD_DIM / kernels_.numbers));
    tokens_.query_scales = work_.query_scales.room(network_.heads_ * tokens_.capacity);
    origin_ = work_.origin.room(total);
    std::copy_n(batch_.order, total, origin_);
    for (long i = 0; i < total; ++i) {
      std::copy_n(batch_.x + origin_[i] * width, width, tokens_.x + i * width);
      std::copy_n(batch_.cosine + origin_[i] * half, half, tokens_.cosine + i * half);
      std::copy_n(batch_.sine + origin_[i] * half, half, tokens_.sine + i * half);
      batch_.survived[i] = 1;
      batch_.matches[i] = -1;
      batch_.scores[i] = 0;
    }
  }

  // Gives tokens and slots to the pairs at work, and makes the list of tasks.
  void lay_out() {
    long token = 0, slot = 0;
    work_.tasks.clear();
    for (Pair& pair : work_.pairs) {
      pair.start = token;
      for (int image = 0; image < 2; ++image) {
        pair.slot[image] = slot;
        slot += rounded_up(pair.count[image], KEY_BLOCK);
      }
      for (int image = 0; image < 2; ++image) {
        const Partners own{pair.slot[image], static_cast<int>(pair.count[image])};
        const Partners cross{pair.slot[1 - image], static_cast<int>(pair.count[1 - image])};
        for (long row = 0; row < pair.count[image]; row += kernels_.block_rows) {
          const int count = static_cast<int>(std::min<long>(kernels_.block_rows, pair.count[image] - row));
          work_.tasks.push_back(Task{{token + row, count, own.slot + row}, own, cross});
        }
        token += pair.count[image];
      }
    }
    const int heads = network_.heads_;
    const long words = slot * network_.width_ / kernels_.numbers;
    tokens_.slots = slot;
    tokens_.keys = work_.keys.room(words);
    tokens_.values = work_.values.room(words / KEY_BLOCK * kernels_.value_keys);
    tokens_.key_scales = work_.key_scales.room(heads * slot);
    tokens_.key_biases = work_.key_biases.room(heads * slot);
    tokens_.value_inverses = work_.value_inverses.room(heads * slot);
    for (const Pair& pair : work_.pairs)
      for (int image = 0; image < 2; ++image)
        for (int head = 0; head < heads; ++head)
          for (long i = pair.count[image]; i < rounded_up(pair.count[image], kernels_.panel); ++i)
            tokens_.key_biases[head * slot + pair.slot[image] + i] = -1e30f;
  }

  void run_layer(const Layer& layer) {
    const long count = static_cast<long>(work_.tasks.size());
    const auto attend = [&](bool cross) {
      team_.each(count * network_.heads_, [&](long i, int thread) {
        const Task& task = work_.tasks[i % count];
        kernels_.attend(tokens_, task.rows, cross ? task.cross : task.own, static_cast<int>(i / count),
                        scratch(thread));
      });
    };
    team_.each(count, [&](long i, int thread) {
      kernels_.project_own(tokens_, layer.own->layer, work_.tasks[i].rows, scratch(thread));
    });
    attend(false);
    team_.each(count, [&](long i, int thread) {
      kernels_.feed_forward(tokens_, layer.own_net, work_.tasks[i].rows, scratch(thread));
      kernels_.project_cross(tokens_, layer.cross->layer, work_.tasks[i].rows, scratch(thread));
    });
    attend(true);
    team_.each(count, [&](long i, int thread) {
      kernels_.feed_forward(tokens_, layer.cross_net, work_.tasks[i].rows, scratch(thread));
    });
  }

  // Lets pairs exit and drops points, after a layer that is not the last one.
  void adapt(int number) {
    const Layer& layer = network_.layers_[number];
    long total = 0;
    for (const Pair& pair : work_.pairs) total += pair.count[0] + pair.count[1];
    float* confidence = work_.confidence.room(total);
    float* matchability = work_.matchability.room(total);
    stays_ = work_.stays.room(total);
    team_.each(static_cast<long>(work_.tasks.size()), [&](long i, int) {
      const Rows rows = work_.tasks[i].rows;
      for (int kind = 0; kind < 2; ++kind) {
        if (!(kind ? batch_.prunes : batch_.exits)) continue;
        const float* weight = (kind ? layer.matchability : layer.confidence).data();
        float* out = (kind ? matchability : confidence) + rows.token;
        kernels_.logits(tokens_.x + rows.token * network_.width_, rows.count, network_.width_, weight,
                        weight[network_.width_], out);
        for (int row = 0; row < rows.count; ++row) out[row] = sigmoid(out[row]);
      }
    });
    const float threshold = batch_.confidence_thresholds[number];
    std::vector<Pair> going_on, done;
    for (const Pair& pair : work_.pairs) {
      const long end = pair.start + pair.count[0] + pair.count[1];
      if (batch_.exits && exits(pair, confidence, end, threshold)) {
        done.push_back(pair);
        std::fill(stays_ + pair.start, stays_ + end, uint8_t{0});
        continue;
      }
      Pair left = pair;
      for (int image = 0; image < 2; ++image) {
        const long start = pair.start + (image ? pair.count[0] : 0);
        left.count[image] = prune(start, pair.count[image], matchability, confidence, threshold);
      }
      if (left.count[0] && left.count[1]) {
        going_on.push_back(left);
        continue;
      }
      // Where all points of an image are gone, the official code notices when the next layer begins.
      batch_.stops[pair.number] = number + 2;
      std::fill(stays_ + pair.start, stays_ + end, uint8_t{0});
    }
    finish(done, number + 1);
    if (gather(total) || going_on.size() != work_.pairs.size()) {
      work_.pairs = going_on;
      lay_out();
    }
  }

  bool exits(const Pair& pair, const float* confidence, long end, float threshold) const {
    const auto unsure =
        std::count_if(confidence + pair.start, confidence + end, [=](float c) { return c < threshold; });
    const float came =
        static_cast<float>(static_cast<long>(batch_.lengths[2 * pair.number]) + batch_.lengths[2 * pair.number + 1]);
    return 1.f - static_cast<float>(unsure) / came > batch_.exit_share;  // in floats, as the official code
  }

  // How many tokens of an image are left; says of each whether it stays.
  long prune(long start, long count, const float* matchability, const float* confidence, float threshold) {
    if (!batch_.prunes || count <= batch_.pruning_min) {
      std::fill_n(stays_ + start, count, uint8_t{1});
      return count;
    }
    long left = 0;
    for (long i = start; i < start + count; ++i) {
      stays_[i] = matchability[i] > batch_.least_matchability || (batch_.exits && confidence[i] <= threshold);
      batch_.survived[origin_[i]] += stays_[i];
      left += stays_[i];
    }
    return left;
  }

  // Moves the tokens that stay together; whether any does not.
  bool gather(long total) {
    const int width = network_.width_, half = width / network_.heads_ / 2;
    long to = 0;
    for (long from = 0; from < total; ++from) {
      if (!stays_[from]) continue;
      if (to != from) {
        std::copy_n(tokens_.x + from * width, width, tokens_.x + to * width);
        std::copy_n(tokens_.cosine + from * half, half, tokens_.cosine + to * half);
        std::copy_n(tokens_.sine + from * half, half, tokens_.sine + to * half);
        origin_[to] = origin_[from];
      }
      ++to;
    }
    return to != total;
  }

  // Reads off the matches of pairs, whose tokens are still where they were.
  void finish(const std::vector<Pair>& pairs, int stop) {
    if (pairs.empty()) return;
    for (const Pair& pair : pairs) batch_.stops[pair.number] = stop;
    const Assigner assigner{network_.floats_,
                            network_.layers_[stop - 1].final->layer,
                            network_.layers_[stop - 1].matchability.data(),
                            work_.assignment,
                            team_,
                            [this](int thread) { return scratch(thread); }};
    assigner.assign(
        tokens_.x, pairs,
        [&](const Pair& pair, long point0, long point1, float score, bool kept) {
          const long row0 = origin_[pair.start + point0], row1 = origin_[pair.start + pair.count[0] + point1];
          batch_.scores[row0] = batch_.scores[row1] = score;
          if (!kept) return;
          batch_.matches[row0] = row1 - starts_[pair.number] - batch_.lengths[2 * pair.number];
          batch_.matches[row1] = row0 - starts_[pair.number];
        },
        batch_.filter_threshold);
  }

  Network& network_;
  const Kernels& kernels_;
  const PhotoglueBatch& batch_;
  Workspace& work_;
  Team team_;
  Tokens tokens_{};
  long scratch_ = 0;
  int64_t* origin_ = nullptr;
  uint8_t* stays_ = nullptr;
  std::vector<long> starts_;  // first rows of the pairs in the batch
};

bool Network::fits(int width, int heads, bool int16) {
  const int head_dim = heads > 0 && width % heads == 0 ? width / heads : 0;
  return width <= MAX_WIDTH && head_dim <= MAX_HEAD_DIM && head_dim > 0 && head_dim % HEAD_STEP == 0 &&
         kernels(int16, head_dim) && kernels(false, head_dim);
}

Network::Network(int width, int heads, int layers, bool int16, const float* const* weights)
    : width_(width),
      heads_(heads),
      kernels_(*kernels(int16, width / heads)),
      floats_(*kernels(false, width / heads)),
      layers_(layers) {
  for (Layer& layer : layers_) {
    layer.own = pack_linear(kernels_, weights[0], width, weights[1], 3 * width, width);
    layer.cross = pack_linear(kernels_, weights[2], width, weights[3], 2 * width, width);
    layer.own_net = pack_net(kernels_, weights + 4, width, layer.packed, layer.norms);
    layer.cross_net = pack_net(kernels_, weights + 10, width, layer.packed + 3, layer.norms + 2);
    with_bias(layer.matchability, weights[16], weights[17], width);
    layer.final = pack_linear(floats_, weights[18], width, weights[19], width, width);
    if (weights[20]) with_bias(layer.confidence, weights[20], weights[21], width);
    weights += POINTERS;
  }
}

Network::~Network() = default;

void Network::match(const PhotoglueBatch& batch, int threads) {
  std::unique_ptr<Workspace> work;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      work = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!work) work = std::make_unique<Workspace>();
  Pass(*this, batch, *work, threads).run();
  const std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(work));
}

}  // namespace photoglue

void* photoglue_lightglue_new(int32_t width, int32_t heads, int32_t layers, int32_t int16,
                              const float* const* weights) {
  if (!photoglue::Network::fits(width, heads, int16 != 0)) return nullptr;
  try {
    return new photoglue::Network(width, heads, layers, int16 != 0, weights);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void photoglue_lightglue_free(void* network) { delete static_cast<photoglue::Network*>(network); }

int32_t photoglue_lightglue_match(void* network, const PhotoglueBatch* batch, int32_t threads) {
  try {
    static_cast<photoglue::Network*>(network)->match(*batch, threads);
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}
