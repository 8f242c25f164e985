#include "assign.hpp"

#include <algorithm>
#include <cmath>

namespace photoglue {
namespace {

constexpr long KEPT = 1L << 22;  // similarities of a pass that are not computed twice: 16 MB
constexpr float LOG2_E = 1.44269504f;

struct Job {  // some rows of a pair
  size_t pair;
  long row;
  int count;
};

float log2_sigmoid(float logit) { return (std::min(logit, 0.f) - std::log1p(std::exp(-std::fabs(logit)))) * LOG2_E; }

// Per pair where its part of each buffer begins.
struct Place {
  long row, column, panels, kept, parts;
};

}  // namespace

void Assigner::assign(const float* x, const std::vector<Pair>& pairs,
                      const std::function<void(const Pair&, long, long, float, bool)>& found, float threshold) const {
  const int width = projection.inputs, block = kernels.block_rows, panel = kernels.panel;
  const auto up = [](long count, long step) { return (count + step - 1) / step * step; };
  std::vector<Pairing> pairings(pairs.size());
  std::vector<Job> jobs, columns;
  std::vector<Place> places;
  Place end{0, 0, 0, 0, 0};
  long widest = 0;
  std::vector<bool> keeps;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const long m = pairs[i].count[0], n = pairs[i].count[1], stride = up(n, panel) + 16;
    places.push_back(end);
    keeps.push_back(end.kept + up(m, block) * stride <= KEPT + KEPT / 8);
    end.row += m;
    end.column += stride;
    end.panels += up(n, panel) * width;
    if (keeps.back()) end.kept += up(m, block) * stride;
    end.parts += up(m, block) / block * stride;
    widest = std::max(widest, keeps.back() ? 0 : stride);
    for (long row = 0; row < m; row += block) jobs.push_back({i, row, static_cast<int>(std::min<long>(block, m - row))});
    for (long row = 0; row < n; row += panel) columns.push_back({i, row, static_cast<int>(std::min<long>(panel, n - row))});
  }
  float* descriptors = work.descriptors.room(end.row * width);
  float* column_bias = work.column.room(end.column);
  float* row = work.row.room(end.row);
  float* logits0 = work.logits.room(end.row);
  float* peaks = work.peaks.room(end.parts);
  float* sums = work.sums.room(end.parts);
  float* best = work.best.room(end.row);
  int32_t* choice = work.choice.room(end.row);
  int32_t* panels = work.panels.room(end.panels);
  float* kept = work.kept.room(end.kept);
  float* tables = work.tables.room(static_cast<size_t>(widest) * block * team.size());
  float* others = work.others.room(static_cast<size_t>(panel) * width * team.size());
  std::fill_n(column_bias, end.column, 0.f);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const Place& at = places[i];
    const long m = pairs[i].count[0], n = pairs[i].count[1];
    pairings[i] = Pairing{width, m, n, up(n, panel) + 16, descriptors + at.row * width, panels + at.panels,
                          keeps[i] ? kept + at.kept : nullptr, row + at.row, column_bias + at.column, peaks + at.parts,
                          sums + at.parts, best + at.row, choice + at.row};
  }
  const auto each = [&](const std::vector<Job>& list, const auto& work_on) {
    team.each(static_cast<long>(list.size()), [&](long i, int thread) { work_on(list[i], pairings[list[i].pair], thread); });
  };
  const auto table = [&](int thread) { return tables + static_cast<long>(thread) * widest * block; };
  each(columns, [&](const Job& job, const Pairing& pairing, int thread) {
    const Pair& pair = pairs[job.pair];
    const float* from = x + (pair.start + pair.count[0] + job.row) * width;
    float* out = others + static_cast<long>(thread) * panel * width;
    kernels.linear(from, job.count, projection, out, scratch(thread));
    pack_columns(out, job.count, width, panel, const_cast<int32_t*>(pairing.panels) + job.row * width);
    kernels.logits(from, job.count, width, matchability, matchability[width],
                   column_bias + places[job.pair].column + job.row);
  });
  each(jobs, [&](const Job& job, const Pairing& pairing, int thread) {
    const float* from = x + (pairs[job.pair].start + job.row) * width;
    kernels.linear(from, job.count, projection, const_cast<float*>(pairing.x) + job.row * width, scratch(thread));
    kernels.logits(from, job.count, width, matchability, matchability[width], logits0 + places[job.pair].row + job.row);
    kernels.sum_up(pairing, job.row, job.count, table(thread), scratch(thread));
  });
  for (long i = 0; i < end.row; ++i) row[i] = log2_sigmoid(logits0[i]) - row[i];
  for (size_t i = 0; i < pairs.size(); ++i) {
    const Pairing& pairing = pairings[i];
    float* to = column_bias + places[i].column;
    for (long j = 0; j < pairing.columns; ++j) {
      float peak = pairing.peaks[j];
      for (long part = 1; part < up(pairing.rows, block) / block; ++part)
        peak = std::max(peak, pairing.peaks[part * pairing.stride + j]);
      float sum = 0;
      for (long part = 0; part < up(pairing.rows, block) / block; ++part)
        sum += pairing.sums[part * pairing.stride + j] * std::exp2(pairing.peaks[part * pairing.stride + j] - peak);
      to[j] = log2_sigmoid(to[j]) - peak - std::log2(sum);
    }
  }
  each(jobs, [&](const Job& job, const Pairing& pairing, int thread) {
    kernels.choose(pairing, job.row, job.count, table(thread), scratch(thread));
  });
  for (size_t i = 0; i < pairs.size(); ++i) {
    const Pairing& pairing = pairings[i];
    // The best of each column, and which row chooses it: of equal rivals the first.
    std::vector<long> partner(pairing.columns, -1);
    for (long j = 0; j < pairing.columns; ++j)
      for (long part = 1; part < up(pairing.rows, block) / block; ++part)
        pairing.peaks[j] = std::max(pairing.peaks[j], pairing.peaks[part * pairing.stride + j]);
    for (long r = 0; r < pairing.rows; ++r) {
      const int32_t c = pairing.choice[r];
      if (pairing.best[r] != pairing.peaks[c] || partner[c] >= 0) continue;
      partner[c] = r;
      const float score = std::exp2(pairing.best[r]);
      found(pairs[i], r, c, score, score > threshold);
    }
  }
}

}  // namespace photoglue
