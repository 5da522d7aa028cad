// How the matrices lie in memory: what matrix.cpp builds and the kernels read. Plain pointers, no ownership.
#pragma once

#include <cstdint>

namespace sparse {

constexpr int kLanes = 16;  // rows that the unstructured layout interleaves

// Single weights, sixteen rows at a time ("sliced ELLPACK"). Rows are sorted by their number of entries, so that the
// sixteen of a slice are about equally long; `row` tells where each one's result belongs.
//
//     slice s:  step 0           step 1           ...   rest of lane 0   rest of lane 1 ...
//               16 columns       16 columns             rest[0] entries  rest[1] entries
//
// A slice has as many steps as its shortest row has entries. What longer rows have more follows row by row: nothing is
// padded, so a NaN in x reaches no row that has no weight for it, and all 65,536 indices are columns.
struct Unstructured {
    int64_t columns;
    const int64_t* start;    // (slices + 1) first entry of each slice
    const uint32_t* steps;   // (slices)
    const uint32_t* rest;    // (slices * 16) entries of each lane after the steps
    const int64_t* row;      // (slices * 16) row of each lane, -1 for a lane beyond the last row
    const uint16_t* column;  // (entries)
    const float* value;      // (entries)
};

// Blocks of r rows x c columns, block row by block row, blocks from left to right. The last block row may reach beyond
// the last row, the last block beyond the last column: `value` is zero there, and x must be readable.
struct Blocks {
    int64_t rows;
    const int64_t* start;    // (block rows + 1) first block of each block row
    const uint16_t* column;  // (blocks) in units of c columns
    const float* value;      // (blocks, r, c)
};

// Where a kernel writes: columns [0, count) of a panel of the result.
struct Output {
    float* data;     // row 0, first column of the panel
    int64_t stride;  // floats from one row to the next
    int count;
};

}  // namespace sparse
