// The products, once per instruction set: kernels.cpp is compiled several times and fills one table each time.
#pragma once

#include "layout.h"
#include "taps.h"

namespace sparse {

// A product takes a panel of x, (columns, width) without gaps, and units [begin, end): slices, or block rows.
using UnstructuredProduct = void (*)(const Unstructured&, int64_t begin, int64_t end, const float* x, Output);
using BlockProduct = void (*)(const Blocks&, int64_t begin, int64_t end, const float* x, Output);

constexpr int kWidths[] = {1, 4, 8, 16};  // of a panel; the index into the arrays below

struct Kernels {
    const char* name;
    UnstructuredProduct unstructured[4];
    BlockProduct blocks_8x1[4];
    BlockProduct blocks_16x1[4];
    BlockProduct blocks_4x4[4];
    int64_t tile_frames;  // output frames that `convolve` computes at once
    void (*convolve)(const Taps&, const Utterance&, const Piece&, float* scratch);
    int64_t (*convolve_scratch)(const Taps&, int64_t bins);  // floats of scratch for pieces of so many input bins
};

}  // namespace sparse
