#include "training/training.h"

#include <deque>
#include <functional>
#include <limits>

#include "threads.h"
#include "training/tile_work.h"

namespace sparse {
namespace {

// What both ways through the frames share: which places of the states a frame reads and makes.
struct Frames {
    explicit Frames(const TrainedDirection& direction) : d(direction) {}
    int64_t time(int64_t step) const { return d.backwards ? d.times - 1 - step : step; }
    int64_t before(int64_t time) const { return (d.backwards ? time + 1 : time) * d.batch * d.hidden; }
    int64_t after(int64_t time) const { return (d.backwards ? time : time + 1) * d.batch * d.hidden; }
    const TrainedDirection& d;
};

}  // namespace

void train_forward(const Kernels& kernels, const TrainedDirection& d, int threads) {
    const int members = members_of(d.hidden, threads), count = gates_of(d.cell);
    const Frames frames(d);
    Barrier barrier(members);
    struct Own {
        int64_t from, units, wide;
        std::deque<Tiles> weights;  // its columns of U^T, by gate
        Array<float> product;
    };
    std::vector<Own> owns(members);  // all memory is taken here: work must not throw
    for (int member = 0; member < members; ++member) {
        Own& own = owns[member];
        own.from = share(d.hidden, member, members), own.units = share(d.hidden, member + 1, members) - own.from;
        own.wide = whole(own.units, kWidest);
        for (int gate = 0; gate < count; ++gate) own.weights.emplace_back(kernels, d.hidden, own.units);
        own.product.resize(d.batch * count * own.wide);
    }
    in_parallel(members, [&](int member) {
        auto& [from, units, wide, weights, product] = owns[member];
        for (int gate = 0; gate < count; ++gate) {
            weights[gate].fill_transposed(kernels, d.weight + (gate * d.hidden + from) * d.hidden, d.hidden);
        }
        for (int64_t step = 0; step < d.times; ++step) {
            const int64_t t = frames.time(step);
            const float* before = d.states + frames.before(t);
            std::fill(product.begin(), product.end(), 0.f);
            for (int gate = 0; gate < count; ++gate) {
                const Tiles& tiles = weights[gate];
                for (int64_t block = 0; block < tiles.blocks(); ++block) {
                    for (int64_t k = 0; k < d.hidden; k += kTileDepth) {
                        kernels.add_dense(before + k, d.hidden, d.batch, nullptr, std::min(kTileDepth, d.hidden - k),
                                          tiles.tile(block, k), product.data() + gate * wide + block * kernels.tile_width,
                                          count * wide, tiles.vectors(block));
                    }
                }
            }
            for (int64_t b = 0; b < d.batch; ++b) {
                if (t >= d.lengths[b]) continue;
                const int64_t unit = b * d.hidden + from, frame = (t * d.batch + b) * d.hidden + from;
                kernels.train_forward[int(d.cell)]({
                    units,
                    d.hidden,
                    d.gates + (t * d.batch + b) * count * d.hidden + from,
                    product.data() + b * count * wide,
                    wide,
                    d.bias ? d.bias + from : nullptr,
                    d.products ? d.products + frame : nullptr,
                    before + unit,
                    d.memory ? d.memory + frames.before(t) + unit : nullptr,
                    d.states + frames.after(t) + unit,
                    d.memory ? d.memory + frames.after(t) + unit : nullptr,
                });
            }
            barrier.wait();
        }
    });
}

namespace {

// Back through the frames; `members` threads share the units.
class WayBack {
public:
    WayBack(const Kernels& kernels, const TrainedDirection& direction, GateGradients& gradients, int members)
        : k_(kernels), d_(direction), g_(gradients), members_(members), count_(gates_of(direction.cell)),
          frames_(direction), barrier_(members), scores_(count_ * direction.hidden) {
        for (int member = 0; member < members; ++member) {  // all memory is taken here: work must not throw
            const int64_t from = share(d_.hidden, member, members), units = share(d_.hidden, member + 1, members) - from;
            owns_.emplace_back(k_, from, units, count_ * d_.hidden, d_.batch, g_.kept ? scores_.size() : 0);
        }
    }

    void go(int member) {
        auto& [from, units, wide, weight, future, list, kept, sorted] = owns_[member];
        const int64_t rows = count_ * d_.hidden;
        weight.fill(d_.weight + from, d_.hidden, units, rows);
        for (int64_t b = 0; b < d_.batch; ++b) {
            const float* last = g_.future + b * d_.hidden + from;
            std::copy(last, last + units, future.data() + b * wide);
        }
        for (int64_t step = d_.times; step-- > 0;) {
            const int64_t t = frames_.time(step);
            gates(t, from, units, future.data(), wide);
            if (g_.kept) drop(t, from, units, sorted);
            barrier_.wait();
            for (int64_t row = 0; row < rows;) {  // tiles do not reach beyond their gate: entries are counted by gate
                const int64_t gate = row / d_.hidden, depth = std::min(kTileDepth, (gate + 1) * d_.hidden - row);
                const int64_t entries = tile(t, row, depth, weight, future.data(), wide, list, kept);
                if (member == 0) g_.entries[gate] += entries;
                row += depth;
            }
            // No one writes gradients of this time again, and the next gates read this member's units alone.
        }
        for (int64_t b = 0; b < d_.batch; ++b) {
            const float* first = future.data() + b * wide;
            std::copy(first, first + units, g_.future + b * d_.hidden + from);
        }
    }

private:
    struct Own {
        Own(const Kernels& kernels, int64_t first, int64_t count, int64_t rows, int64_t batch, size_t scores)
            : from(first), units(count), wide(whole(count, kWidest)), weight(kernels, rows, count), future(batch * wide),
              list(batch), kept(batch * kTileDepth), sorted(scores) {}
        int64_t from, units, wide;
        Tiles weight;                // its columns of U
        Array<float> future;         // its share of the states' gradient
        EntryList list;
        Array<float> kept;
        std::vector<float> sorted;
    };

    float* gradient(int64_t t, int64_t b) const { return g_.gradient + (t * d_.batch + b) * count_ * d_.hidden; }
    float* input(int64_t t, int64_t b) const { return g_.input + (t * d_.batch + b) * count_ * d_.hidden; }

    void gates(int64_t t, int64_t from, int64_t units, float* future, int64_t wide) {
        for (int64_t b = 0; b < d_.batch; ++b) {
            float *to = gradient(t, b) + from, *at_input = g_.input ? input(t, b) + from : nullptr;
            if (t >= d_.lengths[b]) {
                for (int gate = 0; gate < count_; ++gate) {
                    std::fill_n(to + gate * d_.hidden, units, 0.f);
                    if (at_input) std::fill_n(at_input + gate * d_.hidden, units, 0.f);
                }
                continue;
            }
            const int64_t unit = b * d_.hidden + from, frame = (t * d_.batch + b) * d_.hidden + from;
            k_.train_backward[int(d_.cell)]({
                units,
                d_.hidden,
                d_.gates ? d_.gates + (t * d_.batch + b) * count_ * d_.hidden + from : nullptr,
                d_.products ? d_.products + frame : nullptr,
                d_.states + frames_.before(t) + unit,
                d_.memory ? d_.memory + frames_.before(t) + unit : nullptr,
                d_.states + frames_.after(t) + unit,
                d_.memory ? d_.memory + frames_.after(t) + unit : nullptr,
                g_.upper + frame,
                future + b * wide,
                g_.memory_future ? g_.memory_future + unit : nullptr,
                to,
                at_input ? at_input + 2 * d_.hidden : nullptr,
            });
            if (g_.sample_every && t % g_.sample_every == g_.sample_every / 2) {
                float* raw = g_.sample + (t / g_.sample_every * d_.batch + b) * count_ * d_.hidden + from;
                for (int gate = 0; gate < count_; ++gate) std::copy_n(to + gate * d_.hidden, units, raw + gate * d_.hidden);
            }
            if (g_.threshold > 0) {
                for (int gate = 0; gate < count_; ++gate) k_.round_small(to + gate * d_.hidden, units, g_.threshold);
                if (at_input) k_.round_small(at_input + 2 * d_.hidden, units, g_.threshold);
            }
            if (at_input) {
                for (int gate = 0; gate < 2; ++gate) std::copy_n(to + gate * d_.hidden, units, at_input + gate * d_.hidden);
            }
        }
    }

    // Only the gate units with the largest gradient of any utterance stay, at this time.
    void drop(int64_t t, int64_t from, int64_t units, std::vector<float>& sorted) {
        for (int gate = 0; gate < count_; ++gate) {
            float* score = scores_.data() + gate * d_.hidden + from;
            std::fill_n(score, units, 0.f);
            for (int64_t b = 0; b < d_.batch; ++b) {
                // A GRU's new gate counts before its reset gate made it smaller.
                const float* row = g_.input ? input(t, b) : gradient(t, b);
                k_.keep_larger(row + gate * d_.hidden + from, units, score);
            }
        }
        barrier_.wait();
        std::copy(scores_.begin(), scores_.end(), sorted.begin());
        for (float& score : sorted) {
            if (score != score) score = std::numeric_limits<float>::infinity();  // NaN stays
        }
        std::nth_element(sorted.begin(), sorted.begin() + (g_.kept - 1), sorted.end(), std::greater<float>());
        const float least = sorted[g_.kept - 1];
        for (int gate = 0; gate < count_; ++gate) {
            const int64_t at = gate * d_.hidden + from;
            for (int64_t b = 0; b < d_.batch; ++b) {
                k_.keep_where(gradient(t, b) + at, units, scores_.data() + at, least);
                if (g_.input) k_.keep_where(input(t, b) + at, units, scores_.data() + at, least);
            }
        }
    }

    // Adds to the states' gradient what comes through rows [row, row + depth) of U; returns how many entries there are.
    int64_t tile(int64_t t, int64_t row, int64_t depth, const Tiles& weight, float* future, int64_t wide, EntryList& list,
                 Array<float>& kept) const {
        const float* x = gradient(t, 0) + row;
        int64_t stride = count_ * d_.hidden, width = depth;
        const Entries entries = list.entries();
        k_.list_entries(x, stride, d_.batch, depth, entries);
        const int64_t listed = entries.start[d_.batch];
        if (listed == 0) return 0;
        uint16_t at[kTileDepth];
        const uint16_t* rows = nullptr;
        bool dense = listed > kDenseFrom * d_.batch * depth;
        if (!dense && g_.kept) {  // the same units for all utterances: dense products of what is left
            bool any[kTileDepth] = {};
            for (int64_t i = 0; i < listed; ++i) any[entries.at[i]] = true;
            width = 0;
            for (int64_t i = 0; i < depth; ++i) {
                if (any[i]) at[width++] = uint16_t(i);
            }
            for (int64_t b = 0; b < d_.batch; ++b) {
                for (int64_t i = 0; i < width; ++i) kept[b * kTileDepth + i] = x[b * stride + at[i]];
            }
            x = kept.data(), stride = kTileDepth, rows = at, dense = true;
        }
        for (int64_t block = 0; block < weight.blocks(); ++block) {
            float* y = future + block * k_.tile_width;
            if (dense) {
                k_.add_dense(x, stride, d_.batch, rows, width, weight.tile(block, row), y, wide, weight.vectors(block));
            } else {
                k_.add_listed(entries, d_.batch, weight.tile(block, row), y, wide, weight.vectors(block));
            }
        }
        return listed;
    }

    const Kernels& k_;
    const TrainedDirection& d_;
    GateGradients& g_;
    const int members_, count_;
    const Frames frames_;
    Barrier barrier_;
    Array<float> scores_;  // (gates H) largest gradient of any utterance
    std::deque<Own> owns_;  // by member
};

}  // namespace

void train_backward(const Kernels& kernels, const TrainedDirection& direction, GateGradients& gradients, int threads) {
    const int members = members_of(direction.hidden, threads);
    std::fill_n(gradients.entries, kMostGates, 0);
    WayBack way(kernels, direction, gradients, members);
    in_parallel(members, [&](int member) { way.go(member); });
}

}  // namespace sparse
