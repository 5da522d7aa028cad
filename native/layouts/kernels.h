// All that is compiled once per instruction set: kernels.cpp fills one table each time.
#pragma once

#include "layouts/cell.h"
#include "layouts/gradients.h"
#include "layouts/matrices.h"
#include "layouts/taps.h"

namespace sparse {

// A product takes a panel of x, (columns, width) without gaps, and units [begin, end): slices, or block rows.
template <class T>
using UnstructuredProduct = void (*)(const Unstructured<T>&, int64_t begin, int64_t end, const float* x, Output);
template <class T>
using BlockProduct = void (*)(const Blocks<T>&, int64_t begin, int64_t end, const float* x, Output);

constexpr int kWidths[] = {1, 4, 8, 16};  // of a panel; the index into the arrays below
constexpr int kWidest = 16;

template <class T>
struct Products {
    UnstructuredProduct<T> unstructured[4];
    BlockProduct<T> blocks_8x1[4];
    BlockProduct<T> blocks_16x1[4];
    BlockProduct<T> blocks_4x4[4];
    BlockProduct<T> dense[4];
};

struct Kernels {
    const char* name;
    Products<float> float32;
    Products<Half> float16;
    Products<int8_t> int8;
    // to[column * to_stride + row] = from[row * from_stride + column]
    void (*transpose)(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to,
                      int64_t to_stride);
    StepFunction steps[4];  // by Cell
    TrainForward train_forward[5];  // by Cell
    TrainBackward train_backward[5];
    void (*round_small)(float* x, int64_t count, float threshold);
    void (*keep_larger)(const float* x, int64_t count, float* most);  // most = max(most, |x|)
    void (*keep_where)(float* x, int64_t count, const float* most, float least);  // others become zero
    int64_t vector, tile_width;  // floats of a vector, and of a row of a tile
    void (*list_entries)(const float* from, int64_t stride, int64_t rows, int64_t depth, const Entries& to);
    void (*add_listed)(const Entries&, int64_t rows, const float* tile, float* y, int64_t stride, int vectors);
    void (*add_dense)(const float* x, int64_t x_stride, int64_t rows, const uint16_t* at, int64_t depth,
                      const float* tile, float* y, int64_t y_stride, int vectors);
    int64_t tile_frames;  // output frames that `convolve` computes at once
    void (*convolve)(const Taps&, const Utterance&, const Piece&, float* scratch);
    int64_t (*convolve_scratch)(const Taps&, int64_t bins);  // floats of scratch for pieces of so many input bins
};

inline const Products<float>& products_of(const Kernels& kernels, float) { return kernels.float32; }
inline const Products<Half>& products_of(const Kernels& kernels, Half) { return kernels.float16; }
inline const Products<int8_t>& products_of(const Kernels& kernels, int8_t) { return kernels.int8; }

}  // namespace sparse
