// A direction of a recurrent layer under training, and the products of its gradient.
#pragma once

#include <cstdint>

#include "layouts/kernels.h"

namespace sparse {

// Not owned. Utterances lie in their padding: frame t of utterance b at (t, b), real while t < lengths[b].
//
// `states` and `memory` have a place more than there are frames: read forwards, frame t makes place t + 1 of place t; read
// backwards, place t of place t + 1. All places hold the first state before, so that each utterance begins with it
// wherever its first frame is.
struct TrainedDirection {
    Cell cell;
    bool backwards;
    int64_t times, batch, hidden;
    const int64_t* lengths;  // (B)
    const float* weight;     // (gates H, H)
    const float* bias;       // GRU: (H), of the recurrent product of the new gate; else null
    float* gates;            // (T, B, gates H) input products with their biases; GRU and LSTM: become the gates' values
    float* states;           // (T + 1, B, H)
    float* memory;           // LSTM: (T + 1, B, H); else null
    float* products;         // GRU: (T, B, H) the recurrent product of the new gate; else null
};

void train_forward(const Kernels& kernels, const TrainedDirection& direction, int threads);

struct GateGradients {
    const float* upper;    // (T, B, H) gradient of the states
    float* future;         // (B, H) gradient of the last state; becomes the first one's
    float* memory_future;  // LSTM: (B, H), likewise; else null
    float threshold;       // gate gradients up to it become zero
    int64_t kept;          // gate units that stay at each time, for all utterances; 0: every one
    int64_t sample_every;  // of so many times the gradients are copied before they are rounded; 0: of none
    float* sample;         // (times / sample_every, rounded up, B, gates H) of the middle ones; else null
    float* gradient;       // (T, B, gates H) of the recurrent products
    float* input;          // GRU: (T, B, gates H) of the input products; else null, they have the same
    int64_t entries[kMostGates];  // that are not zero in `gradient`, by gate
};

// The states' gradient back to the gates'. The rest are products of `gradient`, below.
void train_backward(const Kernels& kernels, const TrainedDirection& direction, GateGradients& gradients, int threads);

// y (n, columns) = x (n, depth) weight (depth, columns), without the zeros of x. `y_stride` is a multiple of 16 floats, and
// y may be written that far.
void skipping_product(const Kernels& kernels, const float* x, int64_t n, int64_t depth, const float* weight,
                      int64_t columns, float* y, int64_t y_stride, int threads);

// y (rows, columns) = x^T z, x (n, rows) and z (n, columns), without the zeros of x; y as above.
void skipping_outer(const Kernels& kernels, const float* x, int64_t n, int64_t rows, const float* z, int64_t columns,
                    float* y, int64_t y_stride, int threads);

}  // namespace sparse
