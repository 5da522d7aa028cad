// What the units of a recurrent cell compute, for recognition and for training. A sum is that of the input product and the
// recurrent product; gates come in torch's order. Included once per instruction set.
#pragma once

#include "kernels/functions.h"
#include "layouts/cell.h"

namespace {

// What a cell of one gate makes of its sum, and what is left of the gradient dh behind it where it made h.

struct Tanh {
    template <int N>
    static Vector<N> value(Vector<N> sum) { return hyperbolic<N>(sum); }
    template <int N>
    static Vector<N> behind(Vector<N> h, Vector<N> dh) { return dh * (1.f - h * h); }
};

struct Relu {
    template <int N>
    static Vector<N> value(Vector<N> sum) { return sum < 0.f ? Vector<N>{} : sum; }  // NaN stays
    template <int N>
    static Vector<N> behind(Vector<N> h, Vector<N> dh) { return h == 0.f ? Vector<N>{} : dh; }
};

struct ClippedRelu {
    template <int N>
    static Vector<N> value(Vector<N> sum) { return limited<N>(sum, 0.f, sparse::kClip); }
    template <int N>
    static Vector<N> behind(Vector<N> h, Vector<N> dh) {
        const Vector<N> inside = h == 0.f ? Vector<N>{} : dh;
        return h == sparse::kClip ? Vector<N>{} : inside;
    }
};

template <int N>
struct GruUnits {
    Vector<N> reset, update, fresh, state;
};

// r = s(a_r + g_r), z = s(a_z + g_z), n = tanh(a_n + r g), h' = n + z (h - n) with g = g_n + b
template <int N>
inline GruUnits<N> gru(Vector<N> reset_sum, Vector<N> update_sum, Vector<N> input, Vector<N> product, Vector<N> before) {
    const Vector<N> reset = sigmoid<N>(reset_sum), update = sigmoid<N>(update_sum);
    const Vector<N> fresh = hyperbolic<N>(input + reset * product);
    return {reset, update, fresh, fresh + update * (before - fresh)};
}

template <int N>
struct LstmUnits {
    Vector<N> in, forget, fresh, out, cell, state;
};

// i, f, o = s(a + g), c' = f c + i tanh(a_g + g_g), h' = o tanh(c')
template <int N>
inline LstmUnits<N> lstm(Vector<N> in_sum, Vector<N> forget_sum, Vector<N> fresh_sum, Vector<N> out_sum, Vector<N> before) {
    const Vector<N> in = sigmoid<N>(in_sum), forget = sigmoid<N>(forget_sum), out = sigmoid<N>(out_sum);
    const Vector<N> fresh = hyperbolic<N>(fresh_sum), cell = forget * before + in * fresh;
    return {in, forget, fresh, out, cell, out * hyperbolic<N>(cell)};
}

}  // namespace
