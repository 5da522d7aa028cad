// One time step of a recurrent cell under training, forwards and backwards, for one utterance and a range of its units.
// Included by kernels.cpp, once per instruction set, after step.h.
#pragma once

#include "gradients.h"
#include "step.h"

namespace {

using sparse::BackwardStep;
using sparse::ForwardStep;

struct TrainRnn {
    template <int N>
    static void forward(const ForwardStep& s, int64_t at) {
        store<N>(s.state + at, hyperbolic<N>(load<N>(s.gates + at) + load<N>(s.product + at)));
    }
    template <int N>
    static void backward(const BackwardStep& s, int64_t at) {
        const Vector<N> h = load<N>(s.state + at), dh = load<N>(s.future + at) + load<N>(s.upper + at);
        store<N>(s.gradient + at, dh * (1.f - h * h));
        store<N>(s.future + at, Vector<N>{});
    }
};

struct TrainRelu {
    template <int N>
    static void forward(const ForwardStep& s, int64_t at) {
        const Vector<N> a = load<N>(s.gates + at) + load<N>(s.product + at);
        store<N>(s.state + at, a < 0.f ? Vector<N>{} : a);  // NaN stays
    }
    template <int N>
    static void backward(const BackwardStep& s, int64_t at) {
        const Vector<N> h = load<N>(s.state + at), dh = load<N>(s.future + at) + load<N>(s.upper + at);
        store<N>(s.gradient + at, h == 0.f ? Vector<N>{} : dh);
        store<N>(s.future + at, Vector<N>{});
    }
};

struct TrainClippedRnn {
    template <int N>
    static void forward(const ForwardStep& s, int64_t at) {
        store<N>(s.state + at, limited<N>(load<N>(s.gates + at) + load<N>(s.product + at), 0.f, sparse::kClip));
    }
    template <int N>
    static void backward(const BackwardStep& s, int64_t at) {
        const Vector<N> h = load<N>(s.state + at), dh = load<N>(s.future + at) + load<N>(s.upper + at);
        const Vector<N> inside = h == 0.f ? Vector<N>{} : dh;
        store<N>(s.gradient + at, h == sparse::kClip ? Vector<N>{} : inside);
        store<N>(s.future + at, Vector<N>{});
    }
};

// r = s(a_r + g_r), z = s(a_z + g_z), n = tanh(a_n + r g), h' = n + z (h - n) with g = g_n + b
struct TrainGru {
    template <int N>
    static void forward(const ForwardStep& s, int64_t at) {
        const auto sum = [&](int g) { return load<N>(s.gates + g * s.gate + at) + load<N>(s.product + g * s.product_gate + at); };
        const Vector<N> reset = sigmoid<N>(sum(0)), update = sigmoid<N>(sum(1));
        const Vector<N> product = load<N>(s.product + 2 * s.product_gate + at) + load<N>(s.bias + at);
        const Vector<N> fresh = hyperbolic<N>(load<N>(s.gates + 2 * s.gate + at) + reset * product);
        store<N>(s.gates + at, reset);
        store<N>(s.gates + s.gate + at, update);
        store<N>(s.gates + 2 * s.gate + at, fresh);
        store<N>(s.new_product + at, product);
        store<N>(s.state + at, fresh + update * (load<N>(s.before + at) - fresh));
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

// i, f, o = s(a + g), c' = f c + i tanh(a_g + g_g), h' = o tanh(c')
struct TrainLstm {
    template <int N>
    static void forward(const ForwardStep& s, int64_t at) {
        const auto sum = [&](int g) { return load<N>(s.gates + g * s.gate + at) + load<N>(s.product + g * s.product_gate + at); };
        const Vector<N> in = sigmoid<N>(sum(0)), forget = sigmoid<N>(sum(1)), fresh = hyperbolic<N>(sum(2));
        const Vector<N> out = sigmoid<N>(sum(3)), cell = forget * load<N>(s.memory_before + at) + in * fresh;
        store<N>(s.gates + at, in);
        store<N>(s.gates + s.gate + at, forget);
        store<N>(s.gates + 2 * s.gate + at, fresh);
        store<N>(s.gates + 3 * s.gate + at, out);
        store<N>(s.memory + at, cell);
        store<N>(s.state + at, out * hyperbolic<N>(cell));
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
    int64_t at = 0;
    for (; at + kWidth <= s.units; at += kWidth) Cell::template forward<kWidth>(s, at);
    for (; at + 4 <= s.units; at += 4) Cell::template forward<4>(s, at);
    for (; at < s.units; ++at) Cell::template forward<1>(s, at);
}

template <class Cell>
void train_backward(const BackwardStep& s) {
    int64_t at = 0;
    for (; at + kWidth <= s.units; at += kWidth) Cell::template backward<kWidth>(s, at);
    for (; at + 4 <= s.units; at += 4) Cell::template backward<4>(s, at);
    for (; at < s.units; ++at) Cell::template backward<1>(s, at);
}

// Zero unless |x| is above the threshold; NaN stays, or a broken training would look like a sparse one.
template <int N>
inline void round_at(float* x, float threshold) {
    const Vector<N> value = load<N>(x), size = value < 0.f ? -value : value;
    store<N>(x, size <= threshold ? Vector<N>{} : value);
}

void round_small(float* x, int64_t count, float threshold) {
    int64_t at = 0;
    for (; at + kWidth <= count; at += kWidth) round_at<kWidth>(x + at, threshold);
    for (; at < count; ++at) round_at<1>(x + at, threshold);
}

template <int N>
inline void larger_at(const float* x, float* most) {
    const Vector<N> value = load<N>(x), size = value < 0.f ? -value : value, before = load<N>(most);
    const auto stays = (size <= before) | (before != before);  // NaN is larger than all
    store<N>(most, stays ? before : size);
}

// most[i] = max(most[i], |x[i]|)
void keep_larger(const float* x, int64_t count, float* most) {
    int64_t at = 0;
    for (; at + kWidth <= count; at += kWidth) larger_at<kWidth>(x + at, most + at);
    for (; at < count; ++at) larger_at<1>(x + at, most + at);
}

template <int N>
inline void keep_at(float* x, const float* most, float least) {
    const Vector<N> value = load<N>(x);
    store<N>(x, load<N>(most) < least ? Vector<N>{} : value);
}

// x[i] = 0 where most[i] < least
void keep_where(float* x, int64_t count, const float* most, float least) {
    int64_t at = 0;
    for (; at + kWidth <= count; at += kWidth) keep_at<kWidth>(x + at, most + at, least);
    for (; at < count; ++at) keep_at<1>(x + at, most + at, least);
}

}  // namespace
