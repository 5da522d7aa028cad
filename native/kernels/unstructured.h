// Products with single weights. Included by kernels.cpp, once per instruction set.
#pragma once

#include "layouts/matrices.h"
#include "kernels/values.h"
#include "kernels/vector.h"

namespace {

using sparse::kLanes;
using sparse::Output;
using sparse::Unstructured;

// Values this far ahead are fetched while the present ones are multiplied: the hardware's own prefetcher stops at every
// page, and a slice is only a few pages long.
constexpr int kAhead = 512;

// Entries of one row one after the other, x picked along the row.
template <class X, class T>
inline float row_product(const uint16_t* column, const T* value, uint32_t entries, const float* x) {
    constexpr int W = Loads::kWide;  // whatever X could do: the order of additions must not depend on it
    float sum = 0;
    uint32_t i = 0;
    if (entries >= W) {
        Vector<W> sums = {};
        for (; i + W <= entries; i += W) sums += load<W>(value + i) * X::template pick<W>(x, column + i);
        sum = total<W>(sums);
    }
    for (; i < entries; ++i) sum += widened(value[i]) * x[column[i]];
    return sum;
}

// y = A x: lane l of the sums is row l of the slice. X is how x is read: Loads or Gathers.
template <class X, class T>
void unstructured_vector(const Unstructured<T>& a, int64_t begin, int64_t end, const float* x, Output y) {
    constexpr int W = X::kWide, V = kLanes / W;
    for (int64_t slice = begin; slice < end; ++slice) {
        const uint16_t* column = a.column + a.start[slice];
        const T* value = a.value + a.start[slice];
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
            float sum = lanes[lane] + row_product<X>(column, value, rest[lane], x);
            rescale<T, 1>(&sum, a.scale, row[lane]);
            y.data[row[lane] * y.stride] = sum;
            column += rest[lane];
            value += rest[lane];
        }
    }
}

// Entries of one row one after the other.
template <int B, class T>
inline void add_row(uint32_t entries, const uint16_t* column, const T* value, const float* x, float* sums) {
    constexpr int W = smaller(B, kWidth), V = B / W;
    if (entries == 0) return;
    Vector<W> sum[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[v] = load<W>(sums + v * W);
    for (uint32_t i = 0; i < entries; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[v] += widened(value[i]) * load<W>(x + size_t(column[i]) * B + v * W);
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store<W>(sums + v * W, sum[v]);
}

// Adds `steps` steps of a slice to the sums of its rows, G rows at a time: each weight times one row of the panel.
// `next` are the values that a later call will want, `next_column` their columns.
template <int B, class T>
inline void add_steps(uint32_t steps, const uint16_t* column, const float* value, const uint16_t* next_column,
                      const T* next, const float* x, float (*sums)[B]) {
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
        for (uint32_t step = 0; step < steps; ++step) {
            if (group == 0) {
                __builtin_prefetch(next_column + step * kLanes);
                __builtin_prefetch(next + step * kLanes);
            }
            size_t columns[G];
            read_columns<G>(at_column, columns);
            const auto add = [&](int lane, auto weight) {
                size_t offset = columns[lane] * (B * sizeof(float));
                if constexpr (V == 2) asm("" : "+r"(offset));  // GCC would compute an address for each vector of a row
                const float* row = (const float*)((const char*)x + offset);
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) sum[lane][v] += weight * load<W>(row + v * W);
            };
#if defined(__AVX2__)
            if constexpr (G % 4 == 0 && W > 4) {
#pragma GCC unroll 4
                for (int lane = 0; lane < G; lane += 4) {
                    const Vector<W> fours = load_fours<W>(at_value + lane);
                    add(lane, spread<0, W>(fours));
                    add(lane + 1, spread<1, W>(fours));
                    add(lane + 2, spread<2, W>(fours));
                    add(lane + 3, spread<3, W>(fours));
                }
            } else
#endif
            {
#pragma GCC unroll 16
                for (int lane = 0; lane < G; ++lane) add(lane, at_value[lane]);
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

template <int B, class T>
void unstructured_panel(const Unstructured<T>& a, int64_t begin, int64_t end, const float* x, Output y) {
    alignas(64) float buffer[kRun];
    for (int64_t band = begin; band < end; band += kBand) {
        const int slices = int(end - band < kBand ? end - band : kBand);
        alignas(64) float sums[kBand * kLanes][B] = {};
        const uint32_t most = a.steps[band];  // rows are sorted, so the first slice has most
        const uint32_t near = uint32_t(most * kNear / (a.columns * B + 1)) + 1;
        const uint32_t chunk = near < kRun / kLanes ? near : kRun / kLanes;
        for (uint32_t done = 0; done < most; done += chunk) {
            for (int i = 0; i < slices && a.steps[band + i] > done; ++i) {
                const uint32_t left = a.steps[band + i] - done, steps = left < chunk ? left : chunk;
                const int64_t at = a.start[band + i] + int64_t(kLanes) * done;
                const int64_t next = at + a.start[band + i + 1] - a.start[band + i];  // the same steps of the next slice
                const float* value = widen(a.value + at, int(steps) * kLanes, buffer);
                add_steps<B>(steps, a.column + at, value, a.column + next, a.value + next, x, sums + i * kLanes);
            }
        }
        for (int i = 0; i < slices; ++i) {
            const int64_t* row = a.row + (band + i) * kLanes;
            const uint32_t* rest = a.rest + (band + i) * kLanes;
            const int64_t at = a.start[band + i] + int64_t(kLanes) * a.steps[band + i];
            const uint16_t* column = a.column + at;
            const T* value = a.value + at;
            for (int lane = 0; lane < kLanes; ++lane) {
                if (row[lane] < 0) break;
                add_row<B>(rest[lane], column, value, x, sums[i * kLanes + lane]);
                column += rest[lane];
                value += rest[lane];
                rescale<T, B>(sums[i * kLanes + lane], a.scale, row[lane]);
                write<B>(sums[i * kLanes + lane], y.data + row[lane] * y.stride, y.count);
            }
        }
    }
}

}  // namespace
