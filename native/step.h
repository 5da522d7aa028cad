// One time step of a recurrent cell, gates fused, for one utterance and a range of its units. Included by kernels.cpp,
// once per instruction set.
#pragma once

#include "cell.h"
#include "vector.h"

namespace {

using sparse::Step;

template <int N>
struct WholeOf {
    typedef int32_t type __attribute__((vector_size(N * sizeof(int32_t))));
};

template <int N>
inline Vector<N> limited(Vector<N> x, float low, float high) {
    x = x < low ? Vector<N>{} + low : x;
    return x > high ? Vector<N>{} + high : x;
}

// e^x to 2 units in the last place (Cephes' polynomial): x = n ln 2 + r, 2^n through the exponent's bits.
template <int N>
inline Vector<N> exponential(Vector<N> x) {
    using Whole = typename WholeOf<N>::type;
    x = limited<N>(x, -87.f, 88.f);
    constexpr float kRound = 12582912.f;  // 1.5 * 2^23: adding it leaves no bits behind the point
    const Vector<N> n = (x * 1.44269504f + kRound) - kRound;
    const Vector<N> r = (x - n * 0.693359375f) - n * -2.12194440e-4f;  // ln 2 in two parts
    Vector<N> p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    const Whole bits = (__builtin_convertvector(n, Whole) + 127) << 23;
    Vector<N> power;
    __builtin_memcpy(&power, &bits, sizeof power);
    return p * power;
}

template <int N>
inline Vector<N> sigmoid(Vector<N> x) {
    return 1.f / (1.f + exponential<N>(-x));
}

template <int N>
inline Vector<N> hyperbolic(Vector<N> x) {
    return 1.f - 2.f / (1.f + exponential<N>(2.f * x));
}

// Units [at, at + N) of each cell; torch's order of gates.

struct ClippedRnn {
    template <int N>
    static void units(const Step& s, int64_t at) {
        const Vector<N> h = limited<N>(load<N>(s.input + at) + load<N>(s.product + at), 0.f, sparse::kClip);
        store<N>(s.state + at, h);
    }
};

struct Rnn {
    template <int N>
    static void units(const Step& s, int64_t at) {
        store<N>(s.state + at, hyperbolic<N>(load<N>(s.input + at) + load<N>(s.product + at)));
    }
};

// r = s(a_r + g_r), z = s(a_z + g_z), n = tanh(a_n + r (g_n + b)), h' = n + z (h - n)
struct Gru {
    template <int N>
    static void units(const Step& s, int64_t at) {
        const auto gate = [&](int g) { return load<N>(s.input + g * s.input_gate + at); };
        const auto product = [&](int g) { return load<N>(s.product + g * s.product_gate + at); };
        const Vector<N> reset = sigmoid<N>(gate(0) + product(0)), update = sigmoid<N>(gate(1) + product(1));
        const Vector<N> fresh = hyperbolic<N>(gate(2) + reset * (product(2) + load<N>(s.bias + at)));
        store<N>(s.state + at, fresh + update * (load<N>(s.state + at) - fresh));
    }
};

// i, f, o = s(a + g), c' = f c + i tanh(a_g + g_g), h' = o tanh(c')
struct Lstm {
    template <int N>
    static void units(const Step& s, int64_t at) {
        const auto gate = [&](int g) {
            return load<N>(s.input + g * s.input_gate + at) + load<N>(s.product + g * s.product_gate + at);
        };
        const Vector<N> in = sigmoid<N>(gate(0)), forget = sigmoid<N>(gate(1)), out = sigmoid<N>(gate(3));
        const Vector<N> cell = forget * load<N>(s.cell + at) + in * hyperbolic<N>(gate(2));
        store<N>(s.cell + at, cell);
        store<N>(s.state + at, out * hyperbolic<N>(cell));
    }
};

template <class Cell>
void step(const Step& s) {
    int64_t at = 0;
    for (; at + kWidth <= s.units; at += kWidth) Cell::template units<kWidth>(s, at);
    for (; at + 4 <= s.units; at += 4) Cell::template units<4>(s, at);
    for (; at < s.units; ++at) Cell::template units<1>(s, at);
}

}  // namespace
