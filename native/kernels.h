// The products, once per instruction set: kernels.cpp is compiled several times and fills one table each time.
#pragma once

#include "cell.h"
#include "layout.h"

namespace sparse {

// A product takes a panel of x, (columns, width) without gaps, and units [begin, end): slices, or block rows.
using UnstructuredProduct = void (*)(const Unstructured&, int64_t begin, int64_t end, const float* x, Output);
using BlockProduct = void (*)(const Blocks&, int64_t begin, int64_t end, const float* x, Output);

// to (columns, rows) = from (rows, columns), each with its own floats from one row to the next.
using Transpose = void (*)(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to,
                           int64_t to_stride);

constexpr int kWidths[] = {1, 4, 8, 16};  // of a panel; the index into the arrays below

struct Kernels {
    const char* name;
    UnstructuredProduct unstructured[4];
    BlockProduct blocks_8x1[4];
    BlockProduct blocks_16x1[4];
    BlockProduct blocks_4x4[4];
    StepFunction steps[4];  // by Cell
    Transpose transpose;
};

}  // namespace sparse
