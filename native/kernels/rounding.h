// Gate gradients rounded to zero where they are small. Included by kernels.cpp, once per instruction set.
#pragma once

#include "kernels/functions.h"

namespace {

// Zero unless |x| is above the threshold; NaN stays, or a broken training would look like a sparse one.
void round_small(float* x, int64_t count, float threshold) {
    in_vectors(count, [&](auto width, int64_t at) {
        constexpr int N = width.value;
        const Vector<N> value = load<N>(x + at), size = value < 0.f ? -value : value;
        store<N>(x + at, size <= threshold ? Vector<N>{} : value);
    });
}

// most[i] = max(most[i], |x[i]|)
void keep_larger(const float* x, int64_t count, float* most) {
    in_vectors(count, [&](auto width, int64_t at) {
        constexpr int N = width.value;
        const Vector<N> value = load<N>(x + at), size = value < 0.f ? -value : value, before = load<N>(most + at);
        const auto stays = (size <= before) | (before != before);  // NaN is larger than all
        store<N>(most + at, stays ? before : size);
    });
}

// x[i] = 0 where most[i] < least
void keep_where(float* x, int64_t count, const float* most, float least) {
    in_vectors(count, [&](auto width, int64_t at) {
        constexpr int N = width.value;
        store<N>(x + at, load<N>(most + at) < least ? Vector<N>{} : load<N>(x + at));
    });
}

}  // namespace
