// A pruned 2-D convolution, a shift and the clipped ReLU. Included by kernels.cpp, once per instruction set.
//
// A tile is kWidth * V consecutive output frames, V in each lane. Inputs of a tile are laid out in the same way, those
// of one remainder to the time stride together:
//
//     vector n:  x[n], x[V + n], x[2 V + n], ...        n = 0 ... V - 1, and as far as the kernel reaches beyond
//
// What a tap multiplies is then V whole vectors, whichever frame of the kernel it is. In the order of time, nearly
// every load would cross a cache line, which makes two of it.
#pragma once

#include "layouts/cell.h"
#include "layouts/taps.h"
#include "kernels/tile.h"
#include "kernels/vector.h"

namespace {

using sparse::kFramesPerLane;
using sparse::Piece;
using sparse::Tap;
using sparse::Taps;
using sparse::Utterance;

constexpr int kTileFrames = kWidth * kFramesPerLane;

inline int64_t line_floats(const Taps& a) { return (kTileFrames + a.reach + 15) / 16 * 16; }  // whole cache lines

// Floats of scratch for a piece that reads so many input bins.
int64_t convolve_scratch(const Taps& a, int64_t bins) {
    return a.channels_out * kTileFrames + line_floats(a) + a.groups * a.group * bins * a.phases * a.steps * kWidth;
}

// Adds taps to the sums of one tile of one output channel and bin.
template <int V>
inline void add(const Tap* tap, const Tap* end, const float* window, float* sums) {
    Vector<kWidth> sum[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[v] = load<kWidth>(sums + v * kWidth);
    for (; tap != end; ++tap) {
        const float* x = window + size_t(tap->at) * kWidth;
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) sum[v] += tap->value * load<kWidth>(x + v * kWidth);
    }
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store<kWidth>(sums + v * kWidth, sum[v]);
}

// Clips sums and writes the first `count` of them in the order of time.
template <int V>
inline void finish(float* sums, float* line, float* y, int64_t count) {
    const Vector<kWidth> zero = {}, most = zero + sparse::kClip;
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
        Vector<kWidth> sum = load<kWidth>(sums + v * kWidth);
        sum = sum < zero ? zero : sum;  // NaN is neither, and stays
        store<kWidth>(sums + v * kWidth, sum > most ? most : sum);
    }
    if (count == kWidth * V) {
        from_tile<V>(sums, y);
    } else {
        from_tile<V>(sums, line);
        __builtin_memcpy(y, line, count * sizeof(float));
    }
}

template <int V>
void convolve_tile(const Taps& a, const Utterance& u, const Piece& piece, int64_t count, float* scratch) {
    float* sums = scratch;  // (channels_out, V, kWidth)
    float* line = sums + a.channels_out * kTileFrames;
    float* tiles = line + line_floats(a);  // (groups, bins read, group, phases, steps, kWidth)

    const int64_t top = piece.bin * a.stride_bins - a.bins / 2;
    const int64_t bottom = (piece.bin_end - 1) * a.stride_bins - a.bins / 2 + a.bins;
    const int64_t first = top < 0 ? 0 : top, last = bottom > u.bins ? u.bins : bottom;  // input bins that are read
    const int64_t row = int64_t(a.phases) * a.steps * kWidth;
    const int64_t bin_floats = a.group * row, group_floats = (last - first) * bin_floats;
    for (int64_t channel = 0; channel < a.channels_in; ++channel) {
        float* to = tiles + channel / a.group * group_floats + channel % a.group * row;
        for (int64_t bin = first; bin < last; ++bin, to += bin_floats) {
            const float* x = u.x + (channel * u.bins + bin) * u.frames;
            if (bin + kAheadBins < last) fetch<V>(a, x + kAheadBins * u.frames, u.frames, piece.frame);
            to_tile<V>(a, x, u.frames, piece.frame, line, to);
        }
    }

    for (int64_t bin = piece.bin; bin < piece.bin_end; ++bin) {
        for (int64_t channel = 0; channel < a.channels_out; ++channel) {
            const Vector<kWidth> shift = Vector<kWidth>{} + a.shift[channel];
            for (int v = 0; v < V; ++v) store<kWidth>(sums + (channel * V + v) * kWidth, shift);
        }
        const int64_t origin = bin * a.stride_bins - a.bins / 2;  // the input bin of kernel bin 0, if there is one
        const int64_t begin = origin < 0 ? -origin : 0;
        const int64_t end = origin + a.bins > u.bins ? u.bins - origin : a.bins;
        const uint32_t* start = a.start;
        for (int64_t group = 0; group < a.groups; ++group) {
            const float* window = tiles + group * group_floats + (origin - first) * bin_floats;
            for (int64_t channel = 0; channel < a.channels_out; ++channel, start += a.bins) {
                add<V>(a.tap + start[begin], a.tap + start[end], window, sums + channel * V * kWidth);
            }
        }
        for (int64_t channel = 0; channel < a.channels_out; ++channel) {
            float* y = u.y + (channel * u.bins_out + bin) * u.frames_out + piece.frame;
            finish<V>(sums + channel * V * kWidth, line, y, count);
        }
    }
}

// `scratch`: convolve_scratch floats, on a cache line. A short rest of an utterance is a narrower tile.
void convolve(const Taps& a, const Utterance& u, const Piece& piece, float* scratch) {
    const int64_t left = u.frames_out - piece.frame;
    if (left > kTileFrames / 2) {
        convolve_tile<kFramesPerLane>(a, u, piece, left < kTileFrames ? left : kTileFrames, scratch);
    } else {
        convolve_tile<kFramesPerLane / 2>(a, u, piece, left, scratch);
    }
}

}  // namespace
