// What a step of a recurrent cell reads and writes.
#pragma once

#include <cstdint>

namespace sparse {

constexpr float kClip = 20.f;  // of the clipped ReLU, min(max(x, 0), 20)

enum class Cell { kRnn, kGru, kLstm, kClippedRnn, kReluRnn };  // the last one is for training alone

constexpr int gates_of(Cell cell) { return cell == Cell::kGru ? 3 : cell == Cell::kLstm ? 4 : 1; }

// Some units of one utterance at one time; every pointer stands at the first of them.
struct Step {
    int64_t units;
    const float* input;    // the input product with its bias; gate g is `input_gate` floats further each
    int64_t input_gate;
    const float* product;  // the recurrent product, likewise
    int64_t product_gate;
    const float* bias;     // GRU: added to the recurrent product of the last gate; else null
    float* state;          // h, replaced
    float* cell;           // LSTM: c, replaced; else null
};

using StepFunction = void (*)(const Step&);

}  // namespace sparse
