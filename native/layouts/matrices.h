// How the matrices lie in memory: what packing.cpp builds and the kernels read. Plain pointers, no ownership.
//
// T is how a value is stored: float, Half, or int8_t, which is to be multiplied by `scale` of its row. Kernels widen
// values to float32 as they load them, exactly, and compute in float32; the scale multiplies the finished sum of a row.
#pragma once

#include <cstdint>

namespace sparse {

// A float16 (IEEE 754 binary16) by its bits: C++17 has no name for it on every compiler.
struct Half {
    uint16_t bits;
};

constexpr int kLanes = 16;  // rows that the unstructured layout interleaves

// Single weights, sixteen rows at a time ("sliced ELLPACK"). Rows are sorted by their number of entries, so that the
// sixteen of a slice are about equally long; `row` tells where each one's result belongs.
//
//     slice s:  step 0           step 1           ...   rest of lane 0   rest of lane 1 ...
//               16 columns       16 columns             rest[0] entries  rest[1] entries
//
// A slice has as many steps as its shortest row has entries. What longer rows have more follows row by row: nothing is
// padded, so a NaN in x reaches no row that has no weight for it, and all 65,536 indices are columns.
template <class T>
struct Unstructured {
    int64_t columns;
    const int64_t* start;    // (slices + 1) first entry of each slice
    const uint32_t* steps;   // (slices)
    const uint32_t* rest;    // (slices * 16) entries of each lane after the steps
    const int64_t* row;      // (slices * 16) row of each lane, -1 for a lane beyond the last row
    const uint16_t* column;  // (entries)
    const T* value;          // (entries)
    const float* scale;      // (rows), of int8_t alone
};

// Blocks of r rows x c columns, block row by block row, blocks from left to right. The last block row may reach beyond
// the last row, the last block beyond the last column: `value` is zero there, and x must be readable.
//
// A dense matrix is blocks of 16x1 that lack none: `column` is null, columns are counted.
template <class T>
struct Blocks {
    int64_t rows;
    const int64_t* start;    // (block rows + 1) first block of each block row
    const uint16_t* column;  // (blocks) in units of c columns
    const T* value;          // (blocks, c, r) for c = 1, (blocks, r, c) for 4x4
    const float* scale;      // (rows), of int8_t alone
};

// Where a kernel writes: columns [0, count) of a panel of the result.
struct Output {
    float* data;     // row 0, first column of the panel
    int64_t stride;  // floats from one row to the next
    int count;
};

}  // namespace sparse
