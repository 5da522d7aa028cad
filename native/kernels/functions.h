// Elementwise functions of vectors, and the loop that applies them. Included once per instruction set.
#pragma once

#include "kernels/vector.h"

namespace {

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

template <int N>
struct Width {
    static constexpr int value = N;
};

// part(Width<N>, at) until `count` is covered: whole vectors, then fours, then single values.
template <class Part>
inline void in_vectors(int64_t count, const Part& part) {
    int64_t at = 0;
    for (; at + kWidth <= count; at += kWidth) part(Width<kWidth>{}, at);
    for (; at + 4 <= count; at += 4) part(Width<4>{}, at);
    for (; at < count; ++at) part(Width<1>{}, at);
}

}  // namespace
