// A pruned 2-D convolution with a shift and the clipped ReLU. Included by kernels.cpp, once per instruction set.
//
// A tile is kWidth * 8 output frames, eight consecutive ones per lane. Its input is laid out in the same way:
//
//     vector n of a row:  x[n], x[8 + n], x[16 + n], ...        n = 0 ... 7 + what the kernel reaches further
//
// so the inputs of eight vectors of outputs, shifted by any tap, are eight whole vectors, and no load crosses a cache line.
#pragma once

#include "taps.h"
#include "vector.h"

namespace {

using sparse::kFramesPerLane;
using sparse::Piece;
using sparse::Tap;
using sparse::Taps;
using sparse::Utterance;

constexpr int kTileFrames = kWidth * kFramesPerLane;

// A 4x4 square, rows and columns exchanged.
inline void transpose4(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
    typedef int Order __attribute__((vector_size(16)));
    const Vector<4> a = load<4>(from), b = load<4>(from + from_stride);
    const Vector<4> c = load<4>(from + 2 * from_stride), d = load<4>(from + 3 * from_stride);
#if defined(__clang__)
#define SPARSE_SHUFFLE(p, q, ...) __builtin_shufflevector(p, q, __VA_ARGS__)
#else
#define SPARSE_SHUFFLE(p, q, ...) __builtin_shuffle(p, q, Order{__VA_ARGS__})
#endif
    const Vector<4> ab_low = SPARSE_SHUFFLE(a, b, 0, 4, 1, 5), ab_high = SPARSE_SHUFFLE(a, b, 2, 6, 3, 7);
    const Vector<4> cd_low = SPARSE_SHUFFLE(c, d, 0, 4, 1, 5), cd_high = SPARSE_SHUFFLE(c, d, 2, 6, 3, 7);
    store<4>(to, SPARSE_SHUFFLE(ab_low, cd_low, 0, 1, 4, 5));
    store<4>(to + to_stride, SPARSE_SHUFFLE(ab_low, cd_low, 2, 3, 6, 7));
    store<4>(to + 2 * to_stride, SPARSE_SHUFFLE(ab_high, cd_high, 0, 1, 4, 5));
    store<4>(to + 3 * to_stride, SPARSE_SHUFFLE(ab_high, cd_high, 2, 3, 6, 7));
#undef SPARSE_SHUFFLE
}

// One input bin of one channel into the layout of a tile. `line` has room for kTileFrames + steps floats.
inline void pack_row(const Taps& a, const float* x, int64_t frames, int64_t first, float* line, float* to) {
    const int64_t length = kTileFrames - kFramesPerLane + a.steps;
    const int64_t stride = a.stride_frames;
    for (int phase = 0; phase < a.phases; ++phase, to += int64_t(a.steps) * kWidth) {
        const int64_t origin = first * stride - a.frames / 2 + phase;  // the frame of line[0]
        int64_t begin = origin < 0 ? (-origin + stride - 1) / stride : 0;
        int64_t end = origin < frames ? (frames - origin + stride - 1) / stride : 0;
        if (end > length) end = length;
        if (begin > end) begin = end;
        for (int64_t i = 0; i < begin; ++i) line[i] = 0;
        if (stride == 1) {
            if (end > begin) __builtin_memcpy(line + begin, x + origin + begin, (end - begin) * sizeof(float));
        } else {
            for (int64_t i = begin; i < end; ++i) line[i] = x[origin + i * stride];
        }
        for (int64_t i = end; i < length; ++i) line[i] = 0;
        for (int lane = 0; lane < kWidth; lane += 4) {
            const float* from = line + lane * kFramesPerLane;
            int step = 0;
            for (; step + 4 <= a.steps; step += 4) {
                transpose4(from + step, kFramesPerLane, to + step * kWidth + lane, kWidth);
            }
            for (; step < a.steps; ++step) {
                for (int i = 0; i < 4; ++i) to[step * kWidth + lane + i] = from[i * kFramesPerLane + step];
            }
        }
    }
}

inline void pack(const Taps& a, const Utterance& u, const Piece& piece, int64_t first_bin, int64_t last_bin, float* line,
                 float* packed) {
    const int64_t row = int64_t(a.phases) * a.steps * kWidth;
    for (int64_t channel = 0; channel < a.channels_in; ++channel) {
        const int64_t group = channel / a.group, within = channel % a.group;
        float* to = packed + group * a.group * (last_bin - first_bin) * row + within * row;
        const int64_t size = group == a.groups - 1 ? a.channels_in - group * a.group : a.group;
        (void)size;
        for (int64_t bin = first_bin; bin < last_bin; ++bin, to += a.group * row) {
            pack_row(a, u.x + (channel * u.bins + bin) * u.frames, u.frames, piece.frame, line, to);
        }
    }
}

// Adds taps to the sums of kTileFrames outputs.
inline void add(const Tap* tap, const Tap* end, const float* x, Vector<kWidth>* sums) {
    Vector<kWidth> sum[kFramesPerLane];
#pragma GCC unroll 8
    for (int v = 0; v < kFramesPerLane; ++v) sum[v] = sums[v];
    for (; tap != end; ++tap) {
        const float* from = x + size_t(tap->at) * kWidth;
        const float value = tap->value;
#pragma GCC unroll 8
        for (int v = 0; v < kFramesPerLane; ++v) sum[v] += value * load<kWidth>(from + v * kWidth);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kFramesPerLane; ++v) sums[v] = sum[v];
}

// Clips the sums of one output channel and bin, and writes them in the order of time.
inline void write_row(Vector<kWidth>* sums, float* line, float* to, int64_t count) {
#pragma GCC unroll 8
    for (int v = 0; v < kFramesPerLane; ++v) {
        const Vector<kWidth> zero = {}, most = zero + 20.f;
        Vector<kWidth> sum = sums[v];
        sum = sum < zero ? zero : sum;
        sums[v] = sum > most ? most : sum;
    }
    float* out = count == kTileFrames ? to : line;
    const float* from = (const float*)sums;
    for (int lane = 0; lane < kWidth; lane += 4) {
#pragma GCC unroll 2
        for (int step = 0; step < kFramesPerLane; step += 4) {
            transpose4(from + step * kWidth + lane, kWidth, out + lane * kFramesPerLane + step, kFramesPerLane);
        }
    }
    if (out == line) __builtin_memcpy(to, line, count * sizeof(float));
}

// `scratch`: see convolve_scratch.
void convolve(const Taps& a, const Utterance& u, const Piece& piece, float* scratch) {
    Vector<kWidth>* sums = (Vector<kWidth>*)scratch;
    float* line = scratch + int64_t(a.channels_out) * kTileFrames;
    float* packed = line + (kTileFrames + a.steps + 15) / 16 * 16;

    const auto window_begin = [&](int64_t bin) { return bin * a.stride_bins - a.bins / 2; };
    const int64_t first_bin = window_begin(piece.bin) > 0 ? window_begin(piece.bin) : 0;
    int64_t last_bin = window_begin(piece.bin_end - 1) + a.bins;
    if (last_bin > u.bins) last_bin = u.bins;
    pack(a, u, piece, first_bin, last_bin, line, packed);

    const int64_t row = int64_t(a.phases) * a.steps * kWidth;
    const int64_t count = u.frames_out - piece.frame < kTileFrames ? u.frames_out - piece.frame : kTileFrames;
    for (int64_t bin = piece.bin; bin < piece.bin_end; ++bin) {
        for (int64_t channel = 0; channel < a.channels_out; ++channel) {
            const Vector<kWidth> shift = Vector<kWidth>{} + a.shift[channel];
            for (int v = 0; v < kFramesPerLane; ++v) sums[channel * kFramesPerLane + v] = shift;
        }
        // Kernel bins [begin, end) lie within the input's.
        const int64_t top = window_begin(bin);
        const int64_t begin = top < 0 ? -top : 0;
        const int64_t end = top + a.bins > u.bins ? u.bins - top : a.bins;
        for (int64_t group = 0; group < a.groups; ++group) {
            const float* window = packed + a.group * row * (group * (last_bin - first_bin) + top - first_bin);
            const uint32_t* start = a.start + group * a.channels_out * a.bins;
            for (int64_t channel = 0; channel < a.channels_out; ++channel, start += a.bins) {
                add(a.tap + start[begin], a.tap + start[end], window, sums + channel * kFramesPerLane);
            }
        }
        for (int64_t channel = 0; channel < a.channels_out; ++channel) {
            float* to = u.y + (channel * u.bins_out + bin) * u.frames_out + piece.frame;
            write_row(sums + channel * kFramesPerLane, line, to, count);
        }
    }
}

// Floats of scratch for a piece of so many input bins.
int64_t convolve_scratch(const Taps& a, int64_t bins) {
    return int64_t(a.channels_out) * kTileFrames + (kTileFrames + a.steps + 15) / 16 * 16 +
           int64_t(a.groups) * a.group * bins * a.phases * a.steps * kWidth;
}

}  // namespace
