// Rows to columns: between (positions, columns) as torch has it and the panels of the products. Included by kernels.cpp,
// once per instruction set.
#pragma once

#include "kernels/vector.h"

namespace {

template <int I, int J, int K, int L>
inline Vector<4> shuffled(Vector<4> a, Vector<4> b) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, I, J, K, L);
#else
    typedef int Picks __attribute__((vector_size(16)));
    return __builtin_shuffle(a, b, Picks{I, J, K, L});
#endif
}

inline void transpose_4x4(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
    const Vector<4> a = load<4>(from), b = load<4>(from + from_stride);
    const Vector<4> c = load<4>(from + 2 * from_stride), d = load<4>(from + 3 * from_stride);
    const Vector<4> ab = shuffled<0, 4, 1, 5>(a, b), cd = shuffled<0, 4, 1, 5>(c, d);
    store<4>(to, shuffled<0, 1, 4, 5>(ab, cd));
    store<4>(to + to_stride, shuffled<2, 3, 6, 7>(ab, cd));
    const Vector<4> ab_right = shuffled<2, 6, 3, 7>(a, b), cd_right = shuffled<2, 6, 3, 7>(c, d);
    store<4>(to + 2 * to_stride, shuffled<0, 1, 4, 5>(ab_right, cd_right));
    store<4>(to + 3 * to_stride, shuffled<2, 3, 6, 7>(ab_right, cd_right));
}

// to[column * to_stride + row] = from[row * from_stride + column]
//
// Squares of 16 are whole cache lines on both sides: rows that lie a power of two apart fight for the same few lines of
// the first-level cache, and must be done with a line before the next ones push it out.
void transpose(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to, int64_t to_stride) {
    constexpr int S = 16;
    for (int64_t row = 0; row < rows; row += S) {
        for (int64_t column = 0; column < columns; column += S) {
            const float* square = from + row * from_stride + column;
            float* target = to + column * to_stride + row;
            if (rows - row >= S && columns - column >= S) {
                float turned[S][S];
                for (int r = 0; r < S; r += 4) {
                    for (int c = 0; c < S; c += 4) transpose_4x4(square + r * from_stride + c, from_stride, &turned[c][r], S);
                }
                for (int c = 0; c < S; ++c) __builtin_memcpy(target + c * to_stride, turned[c], sizeof turned[c]);
            } else {
                const int64_t last_row = rows - row < S ? rows - row : S, last = columns - column < S ? columns - column : S;
                for (int64_t r = 0; r < last_row; ++r) {
                    for (int64_t c = 0; c < last; ++c) target[c * to_stride + r] = square[r * from_stride + c];
                }
            }
        }
    }
}

}  // namespace
