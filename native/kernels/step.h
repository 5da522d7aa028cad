// One time step of a recurrent cell, gates fused, for one utterance and a range of its units. Included by kernels.cpp,
// once per instruction set.
#pragma once

#include "kernels/cells.h"

namespace {

using sparse::Step;

// Units [at, at + N) of each cell.

template <int N>
inline Vector<N> sum_of(const Step& s, int gate, int64_t at) {
    return load<N>(s.input + gate * s.input_gate + at) + load<N>(s.product + gate * s.product_gate + at);
}

template <class Function>
struct OneGate {
    template <int N>
    static void units(const Step& s, int64_t at) {
        store<N>(s.state + at, Function::template value<N>(sum_of<N>(s, 0, at)));
    }
};

struct Gru {
    template <int N>
    static void units(const Step& s, int64_t at) {
        const Vector<N> product = load<N>(s.product + 2 * s.product_gate + at) + load<N>(s.bias + at);
        const auto unit = gru<N>(sum_of<N>(s, 0, at), sum_of<N>(s, 1, at), load<N>(s.input + 2 * s.input_gate + at), product,
                                 load<N>(s.state + at));
        store<N>(s.state + at, unit.state);
    }
};

struct Lstm {
    template <int N>
    static void units(const Step& s, int64_t at) {
        const auto unit = lstm<N>(sum_of<N>(s, 0, at), sum_of<N>(s, 1, at), sum_of<N>(s, 2, at), sum_of<N>(s, 3, at),
                                  load<N>(s.cell + at));
        store<N>(s.cell + at, unit.cell);
        store<N>(s.state + at, unit.state);
    }
};

template <class Cell>
void step(const Step& s) {
    in_vectors(s.units, [&](auto width, int64_t at) { Cell::template units<width.value>(s, at); });
}

}  // namespace
