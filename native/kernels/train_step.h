// One time step of a recurrent cell under training, forwards and backwards, for one utterance and a range of its units.
// Included by kernels.cpp, once per instruction set.
#pragma once

#include "kernels/cells.h"
#include "layouts/gradients.h"

namespace {

using sparse::BackwardStep;
using sparse::ForwardStep;

template <int N>
inline Vector<N> sum_of(const ForwardStep& s, int gate, int64_t at) {
    return load<N>(s.gates + gate * s.gate + at) + load<N>(s.product + gate * s.product_gate + at);
}

template <class Function>
struct TrainOneGate {
    template <int N>
    static void forward(const ForwardStep& s, int64_t at) {
        store<N>(s.state + at, Function::template value<N>(sum_of<N>(s, 0, at)));
    }
    template <int N>
    static void backward(const BackwardStep& s, int64_t at) {
        const Vector<N> dh = load<N>(s.future + at) + load<N>(s.upper + at);
        store<N>(s.gradient + at, Function::template behind<N>(load<N>(s.state + at), dh));
        store<N>(s.future + at, Vector<N>{});
    }
};

struct TrainGru {
    template <int N>
    static void forward(const ForwardStep& s, int64_t at) {
        const Vector<N> product = load<N>(s.product + 2 * s.product_gate + at) + load<N>(s.bias + at);
        const auto unit = gru<N>(sum_of<N>(s, 0, at), sum_of<N>(s, 1, at), load<N>(s.gates + 2 * s.gate + at), product,
                                 load<N>(s.before + at));
        store<N>(s.gates + at, unit.reset);
        store<N>(s.gates + s.gate + at, unit.update);
        store<N>(s.gates + 2 * s.gate + at, unit.fresh);
        store<N>(s.new_product + at, product);
        store<N>(s.state + at, unit.state);
    }
    template <int N>
    static void backward(const BackwardStep& s, int64_t at) {
        const Vector<N> reset = load<N>(s.gates + at), update = load<N>(s.gates + s.gate + at);
        const Vector<N> fresh = load<N>(s.gates + 2 * s.gate + at), before = load<N>(s.before + at);
        const Vector<N> dh = load<N>(s.future + at) + load<N>(s.upper + at);
        const Vector<N> to_new = dh * (1.f - update) * (1.f - fresh * fresh);
        const Vector<N> to_update = dh * (before - fresh) * update * (1.f - update);
        const Vector<N> to_reset = to_new * load<N>(s.new_product + at) * reset * (1.f - reset);
        store<N>(s.gradient + at, to_reset);
        store<N>(s.gradient + s.gate + at, to_update);
        store<N>(s.gradient + 2 * s.gate + at, to_new * reset);
        store<N>(s.new_input + at, to_new);
        store<N>(s.future + at, dh * update);
    }
};

struct TrainLstm {
    template <int N>
    static void forward(const ForwardStep& s, int64_t at) {
        const auto unit = lstm<N>(sum_of<N>(s, 0, at), sum_of<N>(s, 1, at), sum_of<N>(s, 2, at), sum_of<N>(s, 3, at),
                                  load<N>(s.memory_before + at));
        store<N>(s.gates + at, unit.in);
        store<N>(s.gates + s.gate + at, unit.forget);
        store<N>(s.gates + 2 * s.gate + at, unit.fresh);
        store<N>(s.gates + 3 * s.gate + at, unit.out);
        store<N>(s.memory + at, unit.cell);
        store<N>(s.state + at, unit.state);
    }
    template <int N>
    static void backward(const BackwardStep& s, int64_t at) {
        const Vector<N> in = load<N>(s.gates + at), forget = load<N>(s.gates + s.gate + at);
        const Vector<N> fresh = load<N>(s.gates + 2 * s.gate + at), out = load<N>(s.gates + 3 * s.gate + at);
        const Vector<N> shown = hyperbolic<N>(load<N>(s.memory + at));
        const Vector<N> dh = load<N>(s.future + at) + load<N>(s.upper + at);
        const Vector<N> dc = load<N>(s.memory_future + at) + dh * out * (1.f - shown * shown);
        store<N>(s.gradient + at, dc * fresh * in * (1.f - in));
        store<N>(s.gradient + s.gate + at, dc * load<N>(s.memory_before + at) * forget * (1.f - forget));
        store<N>(s.gradient + 2 * s.gate + at, dc * in * (1.f - fresh * fresh));
        store<N>(s.gradient + 3 * s.gate + at, dh * shown * out * (1.f - out));
        store<N>(s.memory_future + at, dc * forget);
        store<N>(s.future + at, Vector<N>{});
    }
};

template <class Cell>
void train_forward(const ForwardStep& s) {
    in_vectors(s.units, [&](auto width, int64_t at) { Cell::template forward<width.value>(s, at); });
}

template <class Cell>
void train_backward(const BackwardStep& s) {
    in_vectors(s.units, [&](auto width, int64_t at) { Cell::template backward<width.value>(s, at); });
}

}  // namespace
