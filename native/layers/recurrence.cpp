#include "layers/recurrence.h"

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <string>

#include "threads.h"

namespace sparse {
namespace {

// Frames whose input products are made at once: enough for the products to be worth it, few enough for the caches.
constexpr int64_t kChunk = 128;

int64_t rounded_up(int64_t number, int64_t to) { return (number + to - 1) / to * to; }

// One direction on its way through the utterances; `members` threads share it.
class Walk {
public:
    Walk(Cell cell, const Direction& direction, const Kernels& kernels, const int64_t* counts, int64_t times,
         bool backwards, int members)
        : cell_(cell), weights_(direction), k_(kernels), counts_(counts), times_(times), backwards_(backwards),
          members_(members), barrier_(members), hidden_(direction.recurrent->columns()),
          rows_(direction.recurrent->rows()), batch_(rounded_up(counts[0], kWidest)) {
        const int64_t chunk = std::max(kChunk, counts[0]);
        input_.resize(chunk * rows_);
        product_.resize(batch_ * rows_);
        panel_.assign(batch_ * direction.recurrent->padded_columns(), 0.f);
        state_.assign(counts[0] * hidden_, 0.f);
        if (cell == Cell::kLstm) memory_.assign(counts[0] * hidden_, 0.f);
        scratch_.assign(members, Array<float>(direction.input->scratch_size()));
    }

    // The only utterance goes on from where it was: H units, and those of an LSTM's memory.
    void set_state(const float* state) {
        std::copy(state, state + hidden_, state_.data());
        if (!memory_.empty()) std::copy(state + hidden_, state + 2 * hidden_, memory_.data());
        write_panel(0, Matrix::width_for(1), 1, 0, hidden_);
    }

    void get_state(float* state) const {
        std::copy(state_.begin(), state_.end(), state);
        std::copy(memory_.begin(), memory_.end(), state + hidden_);
    }

    // What member `member` does. x (frames, F), y (frames, stride) of which this direction fills the first H columns.
    void go(int member, const float* x, float* y, int64_t stride) {
        const int64_t features = weights_.input->columns();
        float* scratch = scratch_[member].data();
        int64_t done = 0, frame = 0;  // times, and frames before `done` or, backwards, behind it
        for (int64_t t = 0; t < times_; ++t) frame += backwards_ ? counts_[t] : 0;
        while (done < times_) {
            int64_t end = done, frames = 0;
            while (end < times_ && (frames == 0 || frames + count(end) <= kChunk)) frames += count(end++);
            const int64_t first = backwards_ ? frame - frames : frame;
            make_input(member, x + first * features, frames, scratch);
            barrier_.wait();
            int64_t within = backwards_ ? frames : 0;  // frames of the chunk
            for (int64_t i = done; i < end; ++i) {
                if (backwards_) within -= count(i);
                step(member, count(i), i + 1 < times_ ? count(i + 1) : 0, input_.data() + within * rows_,
                     y + (first + within) * stride, stride, scratch);
                if (!backwards_) within += count(i);
            }
            frame = backwards_ ? first : frame + frames;
            done = end;
        }
    }

private:
    int64_t count(int64_t i) const { return counts_[backwards_ ? times_ - 1 - i : i]; }

    // input_ (frames, rows) = x W^T, scaled and shifted; panels of frames go to the members in turn.
    void make_input(int member, const float* x, int64_t frames, float* scratch) {
        const int64_t panels = (frames + kWidest - 1) / kWidest;
        const int64_t begin = panels * member / members_ * kWidest;
        const int64_t end = std::min(panels * (member + 1) / members_ * kWidest, frames);
        if (begin >= end) return;
        float* to = input_.data() + begin * rows_;
        weights_.input->linear(k_, x + begin * weights_.input->columns(), end - begin, to, scratch);
        const float *scale = weights_.scale.data(), *shift = weights_.shift.data();
        for (int64_t frame = begin; frame < end; ++frame, to += rows_) {
            if (weights_.scale.empty()) {
                for (int64_t row = 0; row < rows_; ++row) to[row] += shift[row];
            } else {
                for (int64_t row = 0; row < rows_; ++row) to[row] = to[row] * scale[row] + shift[row];
            }
        }
    }

    // One time: the recurrent product of all utterances that have it, rows shared; then the gates, units shared.
    void step(int member, int64_t batch, int64_t next, const float* input, float* y, int64_t stride, float* scratch) {
        const Matrix& matrix = *weights_.recurrent;
        const int64_t begin = matrix.boundary(member, members_), end = matrix.boundary(member + 1, members_);
        each_panel(batch, [&](int64_t first, int width) {
            matrix.product(k_, width, begin, end, panel_.data() + first * matrix.padded_columns(),
                           {product_.data() + first * rows_, width, width});
        });
        barrier_.wait();
        const int64_t vectors = (hidden_ + kWidest - 1) / kWidest;  // whole cache lines for each member
        const int64_t from = vectors * member / members_ * kWidest;
        const int64_t to = std::min(vectors * (member + 1) / members_ * kWidest, hidden_);
        if (from < to) {
            each_panel(batch, [&](int64_t first, int width) {
                const int64_t here = std::min<int64_t>(width, batch - first);
                gates(first, width, here, from, to - from, input, scratch);
                for (int64_t b = first; b < first + here; ++b) {
                    const float* state = state_.data() + b * hidden_ + from;
                    std::copy(state, state + (to - from), y + b * stride + from);
                }
            });
            each_panel(next, [&](int64_t first, int width) { write_panel(first, width, next, from, to); });
        }
        barrier_.wait();
    }

    template <class Work>
    static void each_panel(int64_t batch, const Work& work) {
        for (int64_t first = 0; first < batch; first += kWidest) {
            work(first, Matrix::width_for(batch - first));
        }
    }

    // Units [from, from + units) of utterances [first, first + here), whose products lie in a panel of `width`.
    void gates(int64_t first, int width, int64_t here, int64_t from, int64_t units, const float* input,
               float* scratch) {
        const int count = gates_of(cell_);
        const float* product = product_.data() + first * rows_;
        if (width > 1) {  // from (gates H, width) to (here, gates, units)
            for (int gate = 0; gate < count; ++gate) {
                const float* panel = product + (gate * hidden_ + from) * width;
                k_.transpose(panel, width, units, here, scratch + gate * units, count * units);
            }
        }
        for (int64_t i = 0; i < here; ++i) {
            const int64_t b = first + i;
            k_.steps[int(cell_)]({units,
                                  input + b * rows_ + from,
                                  hidden_,
                                  width > 1 ? scratch + i * count * units : product + from,
                                  width > 1 ? units : hidden_,
                                  weights_.bias.empty() ? nullptr : weights_.bias.data() + from,
                                  state_.data() + b * hidden_ + from,
                                  memory_.empty() ? nullptr : memory_.data() + b * hidden_ + from});
        }
    }

    // The state as the next product reads it: its panels may have another width, and an utterance that begins there
    // still has its zeros.
    void write_panel(int64_t first, int width, int64_t batch, int64_t from, int64_t to) {
        const int64_t padded = weights_.recurrent->padded_columns();
        const int64_t here = std::min<int64_t>(width, batch - first);
        float* panel = panel_.data() + first * padded;
        k_.transpose(state_.data() + first * hidden_ + from, hidden_, here, to - from, panel + from * width, width);
        if (to == hidden_) std::fill(panel + hidden_ * width, panel + padded * width, 0.f);
    }

    const Cell cell_;
    const Direction& weights_;
    const Kernels& k_;
    const int64_t* counts_;
    const int64_t times_;
    const bool backwards_;
    const int members_;
    Barrier barrier_;
    const int64_t hidden_, rows_, batch_;
    Array<float> input_;    // (frames of a chunk, rows)
    Array<float> product_;  // panels of (rows, width)
    Array<float> panel_;    // panels of (H, width): the state as the product reads it
    Array<float> state_, memory_;  // (batch, H)
    std::vector<Array<float>> scratch_;  // of each member: for a panel of an input product, or of products of a step
};

std::string text(int64_t number) { return std::to_string(number); }

std::string text(const Matrix& matrix) { return "(" + text(matrix.rows()) + ", " + text(matrix.columns()) + ")"; }

}  // namespace

Recurrence::Recurrence(Cell cell, bool sum, std::vector<Direction> directions)
    : cell_(cell), sum_(sum), directions_(std::move(directions)) {
    if (directions_.empty() || directions_.size() > 2) {
        throw std::invalid_argument(text(int64_t(directions_.size())) + " directions: 1 or 2 are possible");
    }
    for (const Direction& direction : directions_) {
        const int64_t hidden = direction.recurrent->columns(), rows = gates_of(cell) * hidden;
        if (hidden < 1 || direction.input->columns() < 1 || direction.recurrent->rows() != rows ||
            direction.input->rows() != rows || direction.recurrent->columns() != this->hidden() ||
            direction.input->columns() != features()) {
            throw std::invalid_argument("recurrent matrix " + text(*direction.recurrent) + " and input matrix " +
                                        text(*direction.input) + " with " + text(gates_of(cell)) +
                                        " gates: (gates H, H) and (gates H, F) fit, alike in both directions");
        }
        const int64_t bias = cell == Cell::kGru ? hidden : 0;
        const bool scaled = direction.scale.empty() || int64_t(direction.scale.size()) == rows;
        if (!scaled || int64_t(direction.shift.size()) != rows || int64_t(direction.bias.size()) != bias) {
            throw std::invalid_argument(text(int64_t(direction.scale.size())) + " scales, " +
                                        text(int64_t(direction.shift.size())) + " shifts and " +
                                        text(int64_t(direction.bias.size())) + " biases: none or " + text(rows) + ", " +
                                        text(rows) + " and " + text(bias) + " are needed");
        }
    }
}

void Recurrence::run(const Kernels& kernels, const float* x, const int64_t* counts, int64_t times, float* y,
                     int threads, float* state) const {
    if (times == 0) return;
    int64_t frames = 0;
    for (int64_t t = 0; t < times; ++t) frames += counts[t];
    const int64_t stride = outputs();
    const int directions = int(directions_.size());
    const int64_t useful = (hidden() + kWidest - 1) / kWidest;  // more members would only wait
    const int members = int(std::max<int64_t>(1, std::min<int64_t>(threads / directions, useful)));
    std::deque<Walk> walks;
    Array<float> second;  // what the second direction says, until it is added
    for (int d = 0; d < directions; ++d) {
        walks.emplace_back(cell_, directions_[d], kernels, counts, times, d == 1, members);
    }
    if (directions == 2 && sum_) second.resize(frames * stride);
    if (state) walks[0].set_state(state);
    const auto go = [&](int d, int member) {
        const bool aside = d == 1 && sum_;
        walks[d].go(member, x, aside ? second.data() : y + d * hidden(), stride);
    };
    if (threads == 1) {
        for (int d = 0; d < directions; ++d) go(d, 0);
    } else {
        in_parallel(directions * members, [&](int part) { go(part % directions, part / directions); });
    }
    if (state) walks[0].get_state(state);
    if (!second.empty()) {
        for (int64_t i = 0; i < frames * stride; ++i) y[i] += second[i];
    }
}

void check_counts(const int64_t* counts, int64_t times, int64_t frames) {
    int64_t total = 0;
    for (int64_t t = 0; t < times; ++t) {
        if (counts[t] < 1 || (t > 0 && counts[t] > counts[t - 1])) {
            throw std::invalid_argument(text(counts[t]) + " utterances have a frame " + text(t) +
                                        ": at least 1, and no more than have the one before it");
        }
        if (counts[t] > frames - total) break;  // before it can overflow
        total += counts[t];
        if (t == times - 1 && total == frames) return;
    }
    if (times == 0 && frames == 0) return;
    throw std::invalid_argument("the counts of utterances do not add up to " + text(frames) + " frames");
}

}  // namespace sparse
