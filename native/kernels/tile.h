// From time to tiles and back, for convolve.h, which says what a tile is. Included once per instruction set.
#pragma once

#include "layouts/taps.h"
#include "kernels/transpose.h"
#include "kernels/vector.h"

namespace {

constexpr int kAheadBins = 2;  // rows of x are fetched so many before they are read

// to[i] = x[origin + i * stride] for i in [0, length), zero where x has no such frame.
inline void pick(const float* x, int64_t frames, int64_t origin, int64_t stride, int64_t length, float* to) {
    int64_t begin = origin < 0 ? (stride - 1 - origin) / stride : 0;
    int64_t end = origin < frames ? (frames - origin + stride - 1) / stride : 0;
    if (end > length) end = length;
    if (begin > end) begin = end;
    for (int64_t i = 0; i < begin; ++i) to[i] = 0;
    if (stride == 1) {
        if (begin < end) __builtin_memcpy(to + begin, x + origin + begin, (end - begin) * sizeof(float));
    } else {
        for (int64_t i = begin; i < end; ++i) to[i] = x[origin + i * stride];
    }
    for (int64_t i = end; i < length; ++i) to[i] = 0;
}

// Asks for the frames of a tile. They are few in a row of x, too few for the hardware to foresee.
template <int V>
inline void fetch(const sparse::Taps& a, const float* x, int64_t frames, int64_t first) {
    constexpr int kLine = 16;  // floats
    const int64_t end = (first + kWidth * V) * a.stride_frames;
    for (int64_t i = first * a.stride_frames; i < (end < frames ? end : frames); i += kLine) __builtin_prefetch(x + i);
}

// One input bin of one channel, as the outputs from `first` on need it. `line` has room for a tile and the reach.
template <int V>
inline void to_tile(const sparse::Taps& a, const float* x, int64_t frames, int64_t first, float* line, float* to) {
    const int steps = V + a.reach;
    for (int phase = 0; phase < a.phases; ++phase, to += a.steps * kWidth) {
        pick(x, frames, first * a.stride_frames - a.frames / 2 + phase, a.stride_frames,
             (kWidth - 1) * V + steps, line);
        for (int lane = 0; lane < kWidth; lane += 4) {
            for (int step = 0; step < steps; step += 4) {
                transpose_4x4(line + lane * V + step, V, to + step * kWidth + lane, kWidth);
            }
        }
    }
}

// The sums of a tile, in the order of time.
template <int V>
inline void from_tile(const float* sums, float* to) {
    for (int lane = 0; lane < kWidth; lane += 4) {
        for (int step = 0; step < V; step += 4) {
            transpose_4x4(sums + step * kWidth + lane, kWidth, to + lane * V + step, V);
        }
    }
}

}  // namespace
