// Products with single weights. Included by kernels.cpp, once per instruction set.
#pragma once

#include "layout.h"
#include "vector.h"

namespace {

using sparse::kLanes;
using sparse::Output;
using sparse::Unstructured;

// Values this far ahead are fetched while the present ones are multiplied: the hardware's own prefetcher stops at every
// page, and a slice is only a few pages long.
constexpr int kAhead = 512;

// Entries of one row one after the other, x picked along the row.
template <class X>
inline float row_product(const uint16_t* column, const float* value, uint32_t entries, const float* x) {
    constexpr int W = Loads::kWide;  // whatever X could do: the order of additions must not depend on it
    float sum = 0;
    uint32_t i = 0;
    if (entries >= W) {
        Vector<W> sums = {};
        for (; i + W <= entries; i += W) sums += load<W>(value + i) * X::template pick<W>(x, column + i);
        sum = total<W>(sums);
    }
    for (; i < entries; ++i) sum += value[i] * x[column[i]];
    return sum;
}

// y = A x: lane l of the sums is row l of the slice. X is how x is read: Loads or Gathers.
template <class X>
void unstructured_vector(const Unstructured& a, int64_t begin, int64_t end, const float* x, Output y) {
    constexpr int W = X::kWide, V = kLanes / W;
    for (int64_t slice = begin; slice < end; ++slice) {
        const uint16_t* column = a.column + a.start[slice];
        const float* value = a.value + a.start[slice];
        Vector<W> sums[V] = {};
        for (uint32_t step = a.steps[slice]; step > 0; --step) {
            __builtin_prefetch(column + kAhead);
            __builtin_prefetch(value + kAhead);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sums[v] += load<W>(value + v * W) * X::template pick<W>(x, column + v * W);
            column += kLanes;
            value += kLanes;
        }
        float lanes[kLanes];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) store<W>(lanes + v * W, sums[v]);
        const int64_t* row = a.row + slice * kLanes;
        const uint32_t* rest = a.rest + slice * kLanes;
        for (int lane = 0; lane < kLanes; ++lane) {
            if (row[lane] < 0) break;
            y.data[row[lane] * y.stride] = lanes[lane] + row_product<X>(column, value, rest[lane], x);
            column += rest[lane];
            value += rest[lane];
        }
    }
}

// The columns of G lanes. Four at once come in one load and are taken apart in registers: the product below is bound by
// loads, one per weight fewer makes it 5 to 10 % faster.
template <int G>
inline void read_columns(const uint16_t* from, size_t* columns) {
    if (G % 4 == 0) {
#pragma GCC unroll 4
        for (int i = 0; i < G / 4; ++i) {
            uint64_t four;
            __builtin_memcpy(&four, from + 4 * i, sizeof four);
            for (int j = 0; j < 4; ++j) columns[4 * i + j] = (four >> 16 * j) & 0xffff;
        }
    } else {
        for (int i = 0; i < G; ++i) columns[i] = from[i];
    }
}

// Entries of one row one after the other.
template <int B>
inline void add_row(uint32_t entries, const uint16_t* column, const float* value, const float* x, float* sums) {
    constexpr int W = smaller(B, kWidth), V = B / W;
    if (entries == 0) return;
    Vector<W> sum[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[v] = load<W>(sums + v * W);
    for (uint32_t i = 0; i < entries; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[v] += value[i] * load<W>(x + size_t(column[i]) * B + v * W);
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store<W>(sums + v * W, sum[v]);
}

// Adds `steps` steps of a slice to the sums of its rows, G rows at a time: each weight times one row of the panel.
template <int B>
inline void add_steps(uint32_t steps, const uint16_t* column, const float* value, int64_t ahead, const float* x,
                      float (*sums)[B]) {
    constexpr int W = smaller(B, kWidth), V = B / W, G = smaller(kLanes, kAccumulators / V);
    for (int group = 0; group < kLanes; group += G) {
        const uint16_t* at_column = column + group;
        const float* at_value = value + group;
        Vector<W> sum[G][V];
#pragma GCC unroll 16
        for (int lane = 0; lane < G; ++lane) {
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[lane][v] = load<W>(sums[group + lane] + v * W);
        }
        for (uint32_t step = steps; step > 0; --step) {
            if (group == 0) {
                __builtin_prefetch(at_column + ahead);
                __builtin_prefetch(at_value + ahead);
            }
            size_t columns[G];
            read_columns<G>(at_column, columns);
#pragma GCC unroll 16
            for (int lane = 0; lane < G; ++lane) {
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) sum[lane][v] += at_value[lane] * load<W>(x + columns[lane] * B + v * W);
            }
            at_column += kLanes;
            at_value += kLanes;
        }
#pragma GCC unroll 16
        for (int lane = 0; lane < G; ++lane) {
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) store<W>(sums[group + lane] + v * W, sum[lane][v]);
        }
    }
}

// Y = A X for a panel of B columns. The panel may be ten times larger than the first-level cache: so a band of slices
// goes through the columns together, a chunk of steps of each slice in turn, and all of them use about the same kNear
// floats of X. Worth 10 % against slice after slice.
constexpr int kBand = 8;
constexpr int64_t kNear = 4096;

template <int B>
void unstructured_panel(const Unstructured& a, int64_t begin, int64_t end, const float* x, Output y) {
    for (int64_t band = begin; band < end; band += kBand) {
        const int slices = int(end - band < kBand ? end - band : kBand);
        alignas(64) float sums[kBand * kLanes][B] = {};
        const uint32_t most = a.steps[band];  // rows are sorted, so the first slice has most
        const uint32_t chunk = uint32_t(most * kNear / (a.columns * B)) + 1;
        for (uint32_t done = 0; done < most; done += chunk) {
            for (int i = 0; i < slices && a.steps[band + i] > done; ++i) {
                const uint32_t left = a.steps[band + i] - done;
                const int64_t at = a.start[band + i] + int64_t(kLanes) * done;
                const int64_t ahead = a.start[band + i + 1] - a.start[band + i];  // the same steps of the next slice
                add_steps<B>(left < chunk ? left : chunk, a.column + at, a.value + at, ahead, x, sums + i * kLanes);
            }
        }
        for (int i = 0; i < slices; ++i) {
            const int64_t* row = a.row + (band + i) * kLanes;
            const uint32_t* rest = a.rest + (band + i) * kLanes;
            const int64_t at = a.start[band + i] + int64_t(kLanes) * a.steps[band + i];
            const uint16_t* column = a.column + at;
            const float* value = a.value + at;
            for (int lane = 0; lane < kLanes; ++lane) {
                if (row[lane] < 0) break;
                add_row<B>(rest[lane], column, value, x, sums[i * kLanes + lane]);
                column += rest[lane];
                value += rest[lane];
                write<B>(sums[i * kLanes + lane], y.data + row[lane] * y.stride, y.count);
            }
        }
    }
}

}  // namespace
