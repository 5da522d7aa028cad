// A recurrent layer over all time steps: one or two directions, utterances of different lengths, gates fused behind the
// products.
#pragma once

#include <cstdint>
#include <vector>

#include "layouts/cell.h"
#include "layouts/kernels.h"
#include "layers/matrix.h"

namespace sparse {

// Not owned: whoever makes a Recurrence keeps its matrices.
struct Direction {
    const Matrix* input;      // (gates H, F)
    const Matrix* recurrent;  // (gates H, H)
    Array<float> scale;       // (gates H) the input product is multiplied with it, or empty
    Array<float> shift;       // (gates H) and added to
    Array<float> bias;        // (H) GRU: added to the recurrent product of the new gate; else empty
};

class Recurrence {
public:
    // Throws std::invalid_argument with the numbers if the parts do not fit. The second direction runs from the end.
    Recurrence(Cell cell, bool sum, std::vector<Direction> directions);

    // Utterances packed by time, longest first: `counts[t]` of them have a frame t, and never more than at t - 1. x has
    // the features of all frames of time 0, then those of time 1, ...: (sum of counts, F), y (sum of counts, outputs()).
    // Both directions side by side in y, or their sum. One utterance in one direction may go on from `state`, its H units
    // and for an LSTM the H of its memory, which becomes the one after the last frame; null begins with zeros.
    void run(const Kernels& kernels, const float* x, const int64_t* counts, int64_t times, float* y, int threads,
             float* state = nullptr) const;

    int64_t features() const { return directions_[0].input->columns(); }
    int64_t hidden() const { return directions_[0].recurrent->columns(); }
    int64_t states() const { return hidden() * (cell_ == Cell::kLstm ? 2 : 1); }
    int64_t directions() const { return int64_t(directions_.size()); }
    int64_t outputs() const { return hidden() * (sum_ ? 1 : int64_t(directions_.size())); }

private:
    Cell cell_;
    bool sum_;
    std::vector<Direction> directions_;
};

// Throws std::invalid_argument unless counts are at least 1 and never rise, and add up to `frames`.
void check_counts(const int64_t* counts, int64_t times, int64_t frames);

}  // namespace sparse
