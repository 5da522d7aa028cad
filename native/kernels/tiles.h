// Products with a matrix whose zeros nobody knew before: gate gradients. Included by kernels.cpp, once per instruction set.
//
// The other operand lies in tiles of kTileDepth rows and kTileWidth columns without gaps, small enough for the first-level
// cache, and the first one is taken to pieces that fit: its rows of kTileDepth entries, without their zeros.
#pragma once

#include "layouts/gradients.h"
#include "kernels/vector.h"

namespace {

using sparse::Entries;
using sparse::kTileDepth;

constexpr int kTileVectors = 8;  // sums of a row of a tile that are in registers at once, and as many loads
constexpr int64_t kTileWidth = kTileVectors * kWidth;

// Entries of `rows` rows of `depth` <= kTileDepth floats each that are not zero; NaN is listed.
void list_entries(const float* from, int64_t stride, int64_t rows, int64_t depth, const Entries& to) {
    int32_t count = 0;
    for (int64_t r = 0; r < rows; ++r, from += stride) {
        to.start[r] = count;
        int64_t k = 0;
#if defined(__AVX512F__)
        // Compressed in registers: compressing stores are slow where microcode does them.
        __m512i place = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        for (; k + 16 <= depth; k += 16) {
            const __m512 values = _mm512_loadu_ps(from + k);
            const __mmask16 kept = _mm512_cmp_ps_mask(values, _mm512_setzero_ps(), _CMP_NEQ_UQ);
            _mm512_storeu_ps(to.value + count, _mm512_maskz_compress_ps(kept, values));
            _mm256_storeu_si256((__m256i*)(to.at + count), _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(kept, place)));
            place = _mm512_add_epi32(place, _mm512_set1_epi32(16));
            count += __builtin_popcount(kept);
        }
#endif
        for (; k < depth; ++k) {  // without a branch: which are zero cannot be foretold
            to.value[count] = from[k];
            to.at[count] = uint16_t(k);
            count += !(from[k] == 0.f);
        }
    }
    to.start[rows] = count;
}

template <int V>
void add_row(const float* value, const uint16_t* at, int32_t count, const float* tile, float* y) {
    Vector<kWidth> sum[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[v] = load<kWidth>(y + v * kWidth);
    for (int32_t i = 0; i < count; ++i) {
        const Vector<kWidth> factor = Vector<kWidth>{} + value[i];
        const float* row = tile + at[i] * kTileWidth;
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) sum[v] += factor * load<kWidth>(row + v * kWidth);
    }
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store<kWidth>(y + v * kWidth, sum[v]);
}

// y (rows, vectors of kWidth) += entries (rows, kTileDepth) tile
template <int V>
void add_listed_of(const Entries& entries, int64_t rows, const float* tile, float* y, int64_t stride) {
    for (int64_t r = 0; r < rows; ++r, y += stride) {
        const int32_t begin = entries.start[r], count = entries.start[r + 1] - begin;
        if (count) add_row<V>(entries.value + begin, entries.at + begin, count, tile, y);
    }
}

void add_listed(const Entries& entries, int64_t rows, const float* tile, float* y, int64_t stride, int vectors) {
    using Add = void (*)(const Entries&, int64_t, const float*, float*, int64_t);
    constexpr Add adds[] = {add_listed_of<1>, add_listed_of<2>, add_listed_of<3>, add_listed_of<4>,
                            add_listed_of<5>, add_listed_of<6>, add_listed_of<7>, add_listed_of<8>};
    adds[vectors - 1](entries, rows, tile, y, stride);
}

constexpr int kDenseRows = 4, kDenseVectors = kAccumulators / kDenseRows;

template <int R, int V>
void add_dense_of(const float* x, int64_t x_stride, const uint16_t* at, int64_t depth, const float* tile, float* y,
                  int64_t y_stride) {
    Vector<kWidth> sum[R][V];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[r][v] = load<kWidth>(y + r * y_stride + v * kWidth);
    }
    for (int64_t k = 0; k < depth; ++k) {
        const float* row = tile + (at ? at[k] : k) * kTileWidth;
        Vector<kWidth> column[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) column[v] = load<kWidth>(row + v * kWidth);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            const Vector<kWidth> factor = Vector<kWidth>{} + x[r * x_stride + k];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[r][v] += factor * column[v];
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) store<kWidth>(y + r * y_stride + v * kWidth, sum[r][v]);
    }
}

template <int R>
void add_dense_rows(const float* x, int64_t x_stride, const uint16_t* at, int64_t depth, const float* tile, float* y,
                    int64_t y_stride, int vectors) {
    constexpr int V = kDenseVectors;
    int v = 0;
    for (; v + V <= vectors; v += V) {
        add_dense_of<R, V>(x, x_stride, at, depth, tile + v * kWidth, y + v * kWidth, y_stride);
    }
    for (; v < vectors; ++v) add_dense_of<R, 1>(x, x_stride, at, depth, tile + v * kWidth, y + v * kWidth, y_stride);
}

// y (rows, vectors of kWidth) += x (rows, depth) tile, or its rows `at` if that is not null
void add_dense(const float* x, int64_t x_stride, int64_t rows, const uint16_t* at, int64_t depth, const float* tile,
               float* y, int64_t y_stride, int vectors) {
    int64_t r = 0;
    for (; r + kDenseRows <= rows; r += kDenseRows) {
        add_dense_rows<kDenseRows>(x + r * x_stride, x_stride, at, depth, tile, y + r * y_stride, y_stride, vectors);
    }
    for (; r < rows; ++r) add_dense_rows<1>(x + r * x_stride, x_stride, at, depth, tile, y + r * y_stride, y_stride, vectors);
}

}  // namespace
