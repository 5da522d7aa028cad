// Products with blocks of one column, and with dense matrices: no gathers. Included by kernels.cpp, once per
// instruction set.
#pragma once

#include "layouts/matrices.h"
#include "kernels/values.h"
#include "kernels/vector.h"

namespace {

using sparse::Blocks;
using sparse::Output;

template <int R, class T>
inline int rows_within(const Blocks<T>& a, int64_t block_row) {
    const int64_t left = a.rows - block_row * R;
    return left < R ? int(left) : R;
}

// The column of each block of a block row: read, or counted where no block is missing.
struct Listed {
    const uint16_t* first;
    size_t operator[](int64_t block) const { return first[block]; }
    template <int N>
    void read(int64_t block, size_t* columns) const {
        read_columns<N>(first + block, columns);
    }
    template <class T>
    static Listed of(const Blocks<T>& a, int64_t block_row) {
        return {a.column + a.start[block_row]};
    }
};
struct Counted {
    size_t operator[](int64_t block) const { return size_t(block); }
    template <int N>
    void read(int64_t block, size_t* columns) const {
        for (int i = 0; i < N; ++i) columns[i] = size_t(block + i);
    }
    template <class T>
    static Counted of(const Blocks<T>&, int64_t) {
        return {};
    }
};

// y = A x, blocks of R consecutive outputs of one input: R weights times one x. U blocks at a time, each with sums of its
// own: a multiply-add takes four cycles, and two can start in each.
template <class Columns, int R, class T>
void columns_vector(const Blocks<T>& a, int64_t begin, int64_t end, const float* x, Output y) {
    constexpr int W = smaller(R, kWidth), V = R / W, U = smaller(4, 8 / V);
    for (int64_t block_row = begin; block_row < end; ++block_row) {
        const Columns column = Columns::of(a, block_row);
        const T* value = a.value + a.start[block_row] * R;
        const int64_t blocks = a.start[block_row + 1] - a.start[block_row];
        Vector<W> sums[U][V] = {};
        int64_t block = 0;
        for (; block + U <= blocks; block += U) {
            size_t columns[U];
            column.template read<U>(block, columns);
#pragma GCC unroll 4
            for (int u = 0; u < U; ++u) {
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) sums[u][v] += x[columns[u]] * load<W>(value + u * R + v * W);
            }
            value += U * R;
        }
        for (; block < blocks; ++block) {
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sums[0][v] += x[column[block]] * load<W>(value + v * W);
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
        for (int r = 0; r < rows; ++r) {
            rescale<T, 1>(out + r, a.scale, block_row * R + r);
            y.data[(block_row * R + r) * y.stride] = out[r];
        }
    }
}

// Adds `blocks` blocks to the sums of rows [group, group + G): each row of the panel is loaded once and serves them all.
template <int R, int B, int G, class Columns>
inline void add_blocks(int blocks, Columns column, int64_t first, const float* value, const float* x, float (*sums)[B]) {
    constexpr int W = smaller(B, kWidth), V = B / W;
    Vector<W> sum[G][V];
#pragma GCC unroll 16
    for (int r = 0; r < G; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[r][v] = load<W>(sums[r] + v * W);
    }
    for (int block = 0; block < blocks; ++block) {
        const float* at = x + column[first + block] * B;
#pragma GCC unroll 16
        for (int r = 0; r < G; ++r) {
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[r][v] += value[r] * load<W>(at + v * W);
        }
        value += R;
    }
#pragma GCC unroll 16
    for (int r = 0; r < G; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) store<W>(sums[r] + v * W, sum[r][v]);
    }
}

// The same as columns_vector for a panel of B columns of X. Blocks go through in runs: where the registers hold the sums
// of only G rows at a time, the values and the rows of X that the next G need are still in the first-level cache.
template <class Columns, int R, int B, class T>
void columns_panel(const Blocks<T>& a, int64_t begin, int64_t end, const float* x, Output y) {
    constexpr int V = B / smaller(B, kWidth), G = smaller(R, kAccumulators / V), kBlocks = kRun / R;
    alignas(64) float buffer[kRun];
    for (int64_t block_row = begin; block_row < end; ++block_row) {
        const Columns column = Columns::of(a, block_row);
        const T* value = a.value + a.start[block_row] * R;
        const int64_t blocks = a.start[block_row + 1] - a.start[block_row];
        const int rows = rows_within<R>(a, block_row);
        alignas(64) float sums[R][B] = {};
        for (int64_t first = 0; first < blocks; first += kBlocks) {
            const int count = int(blocks - first < kBlocks ? blocks - first : kBlocks);
            const float* run = widen(value + first * R, count * R, buffer);
            for (int group = 0; group < rows; group += G) {
                add_blocks<R, B, G>(count, column, first, run + group, x, sums + group);
            }
        }
        for (int r = 0; r < rows; ++r) {
            rescale<T, B>(sums[r], a.scale, block_row * R + r);
            write<B>(sums[r], y.data + (block_row * R + r) * y.stride, y.count);
        }
    }
}

}  // namespace
