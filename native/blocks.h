// Products with blocks of weights: no gathers. Included by kernels.cpp, once per instruction set.
#pragma once

#include "layout.h"
#include "vector.h"

namespace {

using sparse::Blocks;
using sparse::Output;

template <int R>
inline int rows_within(const Blocks& a, int64_t block_row) {
    const int64_t left = a.rows - block_row * R;
    return left < R ? int(left) : R;
}

// y = A x, blocks of R consecutive outputs of one input: R weights times one x. U blocks at a time, each with sums of its
// own: a multiply-add takes four cycles, and two can start in each.
template <int R>
void columns_vector(const Blocks& a, int64_t begin, int64_t end, const float* x, Output y) {
    constexpr int W = smaller(R, kWidth), V = R / W, U = smaller(4, 8 / V);
    for (int64_t block_row = begin; block_row < end; ++block_row) {
        const uint16_t* column = a.column + a.start[block_row];
        const float* value = a.value + a.start[block_row] * R;
        int64_t left = a.start[block_row + 1] - a.start[block_row];
        Vector<W> sums[U][V] = {};
        for (; left >= U; left -= U) {
#pragma GCC unroll 4
            for (int u = 0; u < U; ++u) {
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) sums[u][v] += x[column[u]] * load<W>(value + u * R + v * W);
            }
            column += U;
            value += U * R;
        }
        for (; left > 0; --left) {
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sums[0][v] += x[*column] * load<W>(value + v * W);
            ++column;
            value += R;
        }
        float out[R];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            Vector<W> sum = sums[0][v];
#pragma GCC unroll 4
            for (int u = 1; u < U; ++u) sum += sums[u][v];
            store<W>(out + v * W, sum);
        }
        const int rows = rows_within<R>(a, block_row);
        for (int r = 0; r < rows; ++r) y.data[(block_row * R + r) * y.stride] = out[r];
    }
}

// The same for a panel of B columns of X: each row of the panel is loaded once and serves G rows of the block.
template <int R, int B>
void columns_panel(const Blocks& a, int64_t begin, int64_t end, const float* x, Output y) {
    constexpr int W = smaller(B, kWidth), V = B / W, G = smaller(R, kAccumulators / V);
    for (int64_t block_row = begin; block_row < end; ++block_row) {
        const int rows = rows_within<R>(a, block_row);
        const int64_t blocks = a.start[block_row + 1] - a.start[block_row];
        for (int group = 0; group < rows; group += G) {
            const uint16_t* column = a.column + a.start[block_row];
            const float* value = a.value + a.start[block_row] * R + group;
            Vector<W> sums[G][V] = {};
            for (int64_t block = 0; block < blocks; ++block) {
                const float* at = x + size_t(column[block]) * B;
#pragma GCC unroll 16
                for (int r = 0; r < G; ++r) {
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v) sums[r][v] += value[r] * load<W>(at + v * W);
                }
                value += R;
            }
            float out[G][B];
#pragma GCC unroll 16
            for (int r = 0; r < G; ++r) {
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) store<W>(out[r] + v * W, sums[r][v]);
            }
            for (int r = 0; r < smaller(G, rows - group); ++r) {
                write<B>(out[r], y.data + (block_row * R + group + r) * y.stride, y.count);
            }
        }
    }
}

// y = A x, blocks of 4x4: four weights of a row times four x, vectors of four on every instruction set.
void squares_vector(const Blocks& a, int64_t begin, int64_t end, const float* x, Output y) {
    for (int64_t block_row = begin; block_row < end; ++block_row) {
        const float* value = a.value + a.start[block_row] * 16;
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
        for (int r = 0; r < rows; ++r) y.data[(block_row * 4 + r) * y.stride] = out[r];
    }
}

// The same for a panel of B columns of X. Even and odd columns of a block have sums of their own where registers allow.
template <int B>
void squares_panel(const Blocks& a, int64_t begin, int64_t end, const float* x, Output y) {
    constexpr int W = smaller(B, kWidth), V = B / W;
    constexpr int G = smaller(4, kAccumulators / V);       // rows at a time
    constexpr int S = kAccumulators / (V * G) >= 2 ? 2 : 1;  // sums of each
    for (int64_t block_row = begin; block_row < end; ++block_row) {
        const int rows = rows_within<4>(a, block_row);
        for (int group = 0; group < rows; group += G) {
            const float* value = a.value + a.start[block_row] * 16 + group * 4;
            Vector<W> sums[S][G][V] = {};
            for (int64_t block = a.start[block_row]; block < a.start[block_row + 1]; ++block) {
                const float* at = x + size_t(a.column[block]) * 4 * B;
#pragma GCC unroll 4
                for (int c = 0; c < 4; ++c) {
#pragma GCC unroll 4
                    for (int r = 0; r < G; ++r) {
#pragma GCC unroll 4
                        for (int v = 0; v < V; ++v) sums[c % S][r][v] += value[r * 4 + c] * load<W>(at + c * B + v * W);
                    }
                }
                value += 16;
            }
            float out[G][B];
#pragma GCC unroll 4
            for (int r = 0; r < G; ++r) {
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) {
                    Vector<W> sum = sums[0][r][v];
                    if (S == 2) sum += sums[S - 1][r][v];
                    store<W>(out[r] + v * W, sum);
                }
            }
            for (int r = 0; r < smaller(G, rows - group); ++r) {
                write<B>(out[r], y.data + (block_row * 4 + group + r) * y.stride, y.count);
            }
        }
    }
}

}  // namespace
