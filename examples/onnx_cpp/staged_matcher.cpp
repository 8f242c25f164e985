// LightGlue with early exit and pruning in C++17: runs the folder that `photoglue export matcher --staged` writes.
// A .points file, little-endian: four int32, the photo's width, its height, the number of points and that of a point's
// values; then float32: x and y of all points, (SIFT, DoG-HardNet: all scales in pixels, all angles in radians,) all
// descriptors. Printed are the exit layer, and each point of A, then of B: photo, point, partner in the other photo or
// -1, score, 1 + the number of prunings that it survived. Reference: LightGlue (arXiv 2306.13643), Sec. 3.3.
#include <onnxruntime_cxx_api.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <numeric>
#include <optional>

using Floats = std::vector<float>;
using Integers = std::vector<int64_t>;
struct Points {
  std::array<int32_t, 4> header{};  // width, height, number of points, values of each
  Floats values;
};
struct Photo {
  Integers partner, survived, rows;  // of each point; rows: the points that are left
  Floats score, x, turn;             // x: states of those, points x width; turn: positions, 2 x points x frequencies
};

class StagedMatcher {
 public:
  explicit StagedMatcher(std::filesystem::path folder) : folder_(std::move(folder)) {
    while (exists(folder_ / ("layer" + std::to_string(layers_) + ".onnx"))) ++layers_;
    if (layers_ < 2) throw std::runtime_error("no folder of `photoglue export matcher --staged`: " + folder_.string());
  }
  // Matches and exit layer. Layers end when the share of confident points is above depth_confidence; confident points
  // of a matchability of at most 1 - width_confidence are dropped while a photo has more than minimum; nullopt: never.
  int64_t match(const Points (&points)[2], Photo (&photos)[2], std::optional<double> depth_confidence = 0.95,
                std::optional<double> width_confidence = 0.99, int64_t minimum = -1) {
    for (int i : {0, 1}) {
      const size_t n = points[i].header[2];
      photos[i] = {Integers(n, -1), Integers(n, width_confidence ? 1 : layers_), Integers(n), Floats(n), {}, {}};
      std::iota(photos[i].rows.begin(), photos[i].rows.end(), 0);
      if (n > 0) embed(points[i], photos[i]);
    }
    const float total = float(points[0].header[2]) + float(points[1].header[2]);
    int64_t stop = 1;  // the layer after which matches are read
    for (;; ++stop) {
      if (photos[0].rows.empty() || photos[1].rows.empty()) return stop;
      const auto facts = run("layer", stop - 1, photos,
                             {"y0", "y1", "confidence0", "confidence1", "matchability0", "matchability1"});
      for (int i : {0, 1}) photos[i].x = floats(facts[i]);
      if (stop == layers_) break;
      const float threshold = float(0.8 + 0.1 * std::exp(-4.0 * double(stop - 1) / double(layers_)));
      const Floats confidences[]{floats(facts[2]), floats(facts[3])};
      float unsure = 0;
      for (int i : {0, 1}) for (float each : confidences[i]) unsure += each < threshold;
      if (depth_confidence && 1 - unsure / total > float(*depth_confidence)) break;
      for (int i : {0, 1}) {
        if (!width_confidence || int64_t(photos[i].rows.size()) <= minimum) continue;
        std::vector<bool> kept;
        for (float matchability : floats(facts[4 + i]))
          kept.push_back(matchability > float(1 - *width_confidence) ||
                         (depth_confidence && confidences[i][kept.size()] <= threshold));
        drop(kept, photos[i].x, 1), drop(kept, photos[i].turn, 2), drop(kept, photos[i].rows, 1);
        for (int64_t row : photos[i].rows) ++photos[i].survived[row];
      }
    }
    const auto head = run("head", stop - 1, photos, {"matches0", "matches1", "mscores0", "mscores1"});
    for (int i : {0, 1}) for (size_t n = 0; n < photos[i].rows.size(); ++n) {
      const int64_t row = photos[i].rows[n], partner = head[i].GetTensorData<int64_t>()[n];
      photos[i].partner[row] = partner < 0 ? -1 : photos[1 - i].rows[partner];
      photos[i].score[row] = head[2 + i].GetTensorData<float>()[n];
    }
    return stop;
  }
 private:
  using Names = std::vector<const char*>;
  using Arrays = std::vector<std::pair<const float*, Integers>>;  // values and shape

  void embed(const Points& points, Photo& photo) {
    const int64_t n = points.header[2], first = session("embed").GetInputCount() == 5 ? 4 : 2;
    const float *const all = points.values.data(), size[]{float(points.header[0]), float(points.header[1])};
    const Arrays arrays{{all, {1, n, 2}}, {all + first * n, {1, n, points.header[3] - first}}, {size, {1, 2}},
                        {all + 2 * n, {1, n}}, {all + 3 * n, {1, n}}};
    const auto made = run("embed", {"kpts", "desc", "image_size", "scales", "oris"}, arrays, {"x", "turn"});
    photo.x = floats(made[0]), photo.turn = floats(made[1]);
  }
  std::vector<Ort::Value> run(const char* kind, int64_t number, Photo (&photos)[2], const Names& outputs) {
    const auto& [s, t] = photos;
    const int64_t m = s.rows.size(), n = t.rows.size(), width = s.x.size() / m, frequencies = s.turn.size() / m / 2;
    const Arrays arrays{{s.x.data(), {1, m, width}}, {t.x.data(), {1, n, width}},
                        {s.turn.data(), {2, 1, 1, m, frequencies}}, {t.turn.data(), {2, 1, 1, n, frequencies}}};
    return run(kind + std::to_string(number), {"x0", "x1", "turn0", "turn1"}, arrays, outputs);
  }
  std::vector<Ort::Value> run(const std::string& stage, const Names& names, const Arrays& arrays, const Names& wanted) {
    Ort::Session& session = this->session(stage);
    std::vector<Ort::Value> inputs;  // as many of the arrays as the stage takes: heads take no turns
    for (const auto& [data, shape] : arrays) {
      if (inputs.size() == session.GetInputCount()) break;
      const size_t count = std::accumulate(shape.begin(), shape.end(), size_t(1), std::multiplies<>());
      inputs.push_back(Ort::Value::CreateTensor(memory_, const_cast<float*>(data), count, shape.data(), shape.size()));
    }
    return session.Run({}, names.data(), inputs.data(), inputs.size(), wanted.data(), wanted.size());
  }
  Ort::Session& session(const std::string& stage) {
    return sessions_.try_emplace(stage, environment_, (folder_ / (stage + ".onnx")).c_str(), options_).first->second;
  }
  static Floats floats(const Ort::Value& value) {
    const float* data = value.GetTensorData<float>();
    return Floats(data, data + value.GetTensorTypeAndShapeInfo().GetElementCount());
  }
  template <class Data>  // of so many blocks, each kept.size() x some width
  static void drop(const std::vector<bool>& kept, Data& data, size_t blocks) {
    size_t end = 0, width = data.size() / kept.size() / blocks;
    for (size_t i = 0; i < data.size(); ++i)
      if (kept[i / width % kept.size()]) data[end++] = data[i];
    data.resize(end);
  }
  std::filesystem::path folder_;
  int64_t layers_ = 0;
  Ort::Env environment_{ORT_LOGGING_LEVEL_ERROR};
  Ort::SessionOptions options_;  // threads, providers
  Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::map<std::string, Ort::Session> sessions_;
};

Points read(const std::filesystem::path& path) {
  Points points;
  const auto& [width, height, count, each] = points.header;
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(points.header.data()), 16);
  if (!file || std::min({width, height, count, each}) < 0 || file_size(path) != 16 + 4ull * count * each)
    throw std::runtime_error("missing, cut off, or no file of points: " + path.string());
  points.values.resize(size_t(count) * each);
  file.read(reinterpret_cast<char*>(points.values.data()), 4 * points.values.size());
  return points;
}

int main(int count, char** words) try {
  if (count != 4) throw std::runtime_error("usage: staged_matcher FOLDER A.points B.points");
  Photo photos[2];
  const int64_t stop = StagedMatcher(words[1]).match({read(words[2]), read(words[3])}, photos);
  std::cout << "# exit after layer " << stop << '\n';
  std::cout.precision(9);
  for (const Photo& each : photos)
    for (size_t n = 0; n < each.partner.size(); ++n)
      std::cout << &each - photos << ' ' << n << ' ' << each.partner[n] << ' ' << each.score[n] << ' '
                << each.survived[n] << '\n';
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
