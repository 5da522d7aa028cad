// Products with blocks of 4x4. Included by kernels.cpp, once per instruction set.
#pragma once

#include "kernels/blocks.h"

namespace {

// y = A x: four weights of a row times four x, vectors of four on every instruction set.
template <class T>
void squares_vector(const Blocks<T>& a, int64_t begin, int64_t end, const float* x, Output y) {
    for (int64_t block_row = begin; block_row < end; ++block_row) {
        const T* value = a.value + a.start[block_row] * 16;
        Vector<4> sums[2][4] = {};  // even and odd blocks
        int64_t block = a.start[block_row];
        for (; block + 2 <= a.start[block_row + 1]; block += 2) {
#pragma GCC unroll 2
            for (int u = 0; u < 2; ++u) {
                const Vector<4> at = load<4>(x + size_t(a.column[block + u]) * 4);
#pragma GCC unroll 4
                for (int r = 0; r < 4; ++r) sums[u][r] += load<4>(value + u * 16 + r * 4) * at;
            }
            value += 32;
        }
        if (block < a.start[block_row + 1]) {
            const Vector<4> at = load<4>(x + size_t(a.column[block]) * 4);
#pragma GCC unroll 4
            for (int r = 0; r < 4; ++r) sums[0][r] += load<4>(value + r * 4) * at;
        }
        float out[4];
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) out[r] = total<4>(sums[0][r] + sums[1][r]);
        const int rows = rows_within<4>(a, block_row);
        for (int r = 0; r < rows; ++r) {
            rescale<T, 1>(out + r, a.scale, block_row * 4 + r);
            y.data[(block_row * 4 + r) * y.stride] = out[r];
        }
    }
}

// Adds `blocks` blocks to the sums of G of their rows. Even and odd columns of a block have sums of their own where
// registers allow.
template <int B, int G>
inline void add_squares(int blocks, const uint16_t* column, const float* value, const float* x, float (*sums)[B]) {
    constexpr int W = smaller(B, kWidth), V = B / W;
    constexpr int S = kAccumulators / (V * G) >= 2 ? 2 : 1;  // sums of each row
    Vector<W> sum[S][G][V] = {};
    for (int block = 0; block < blocks; ++block) {
        const float* at = x + size_t(column[block]) * 4 * B;
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) {
#pragma GCC unroll 4
            for (int r = 0; r < G; ++r) {
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) sum[c % S][r][v] += value[r * 4 + c] * load<W>(at + c * B + v * W);
            }
        }
        value += 16;
    }
#pragma GCC unroll 4
    for (int r = 0; r < G; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            Vector<W> all = load<W>(sums[r] + v * W) + sum[0][r][v];
            if (S == 2) all += sum[S - 1][r][v];
            store<W>(sums[r] + v * W, all);
        }
    }
}

// The same for a panel of B columns of X, blocks in runs as in columns_panel.
template <int B, class T>
void squares_panel(const Blocks<T>& a, int64_t begin, int64_t end, const float* x, Output y) {
    constexpr int V = B / smaller(B, kWidth), G = smaller(4, kAccumulators / V), kBlocks = kRun / 16;
    alignas(64) float buffer[kRun];
    for (int64_t block_row = begin; block_row < end; ++block_row) {
        const int rows = rows_within<4>(a, block_row);
        alignas(64) float sums[4][B] = {};
        for (int64_t first = a.start[block_row]; first < a.start[block_row + 1]; first += kBlocks) {
            const int64_t left = a.start[block_row + 1] - first;
            const int count = int(left < kBlocks ? left : kBlocks);
            const float* run = widen(a.value + first * 16, count * 16, buffer);
            for (int group = 0; group < rows; group += G) {
                add_squares<B, G>(count, a.column + first, run + group * 4, x, sums + group);
            }
        }
        for (int r = 0; r < rows; ++r) {
            rescale<T, B>(sums[r], a.scale, block_row * 4 + r);
            write<B>(sums[r], y.data + (block_row * 4 + r) * y.stride, y.count);
        }
    }
}

}  // namespace
