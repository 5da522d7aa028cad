// Training a recurrent layer: all time steps forwards, keeping what the gradient needs, and backwards with gate gradients
// that are rounded to zero where they are small, and products that skip these zeros.
//
// Zhu et al., "Sparsified SGD" for LSTMs; the variant by units is arXiv 1806.00512.
#pragma once

#include <cstdint>

#include "layouts/cell.h"

namespace sparse {

constexpr int64_t kTileDepth = 64;
constexpr int kMostGates = 4;

// The entries of the rows of a tile that are not zero. Writers may write a vector beyond the last entry.
struct Entries {
    int32_t* start;  // (rows + 1)
    uint16_t* at;    // column within the tile
    float* value;
};

// One utterance at one time, some of its units; every pointer stands at the first of them, gates are `gate` floats apart.
struct ForwardStep {
    int64_t units, gate;
    float* gates;           // the input product with its biases; becomes the gates' values
    const float* product;   // the recurrent product, gates `product_gate` floats apart
    int64_t product_gate;
    const float* bias;      // GRU: of the recurrent product of the new gate
    float* new_product;     // GRU: that product with its bias
    const float *before, *memory_before;  // h and c of the step before
    float *state, *memory;
};

struct BackwardStep {
    int64_t units, gate;
    const float *gates, *new_product, *before, *memory_before, *state, *memory;
    const float* upper;     // gradient of h from the layer above
    float* future;          // gradient of h from the future; becomes what of it goes past the recurrent product
    float* memory_future;   // LSTM: gradient of c
    float* gradient;        // of the recurrent product with its bias, by gate
    float* new_input;       // GRU: of the input product of the new gate; the other gates have the same
};

using TrainForward = void (*)(const ForwardStep&);
using TrainBackward = void (*)(const BackwardStep&);

}  // namespace sparse
