// Scratch and helpers around the tiles of tiles.h.
#pragma once

#include <algorithm>
#include <vector>

#include "layouts/kernels.h"
#include "layers/matrix.h"

namespace sparse {

inline int64_t whole(int64_t number, int64_t of) { return (number + of - 1) / of * of; }

// How many threads share so much: each has a part, and more would only wait for each other.
inline int members_of(int64_t number, int threads) {
    return int(std::max<int64_t>(1, std::min<int64_t>(threads, number / kTileDepth)));
}

// Part `part` of `parts` of `number`, in whole vectors of 16.
inline int64_t share(int64_t number, int part, int parts) {
    return std::min(whole(number, kWidest) / kWidest * part / parts * kWidest, number);
}

// Entries of up to `rows` rows of a tile.
class EntryList {
public:
    explicit EntryList(int64_t rows) : start_(rows + 1), at_(rows * kTileDepth + kWidest), value_(at_.size()) {}
    Entries entries() { return {start_.data(), at_.data(), value_.data()}; }

private:
    std::vector<int32_t> start_;
    std::vector<uint16_t> at_;
    Array<float> value_;
};

// A matrix as the tiles want it: (blocks, rows, tile_width), zeros beyond the last column.
class Tiles {
public:
    Tiles(const Kernels& kernels, int64_t rows, int64_t columns)
        : width_(kernels.tile_width), vector_(kernels.vector), rows_(rows), columns_(columns),
          data_(whole(columns, width_) * rows) {}

    int64_t blocks() const { return (columns_ + width_ - 1) / width_; }
    const float* tile(int64_t block, int64_t row) const { return data_.data() + (block * rows_ + row) * width_; }
    // Vectors of a block that have columns; of one with so many columns.
    int vectors(int64_t block) const { return vectors_for(std::min(width_, columns_ - block * width_)); }
    int vectors_for(int64_t columns) const { return int((columns + vector_ - 1) / vector_); }

    // From a matrix whose first row begins at `from`: its first `rows` rows, of the first `columns` columns.
    void fill(const float* from, int64_t stride, int64_t columns, int64_t rows) {
        for (int64_t block = 0; block < blocks(); ++block) {
            const int64_t here = std::min(width_, columns - block * width_);
            for (int64_t row = 0; row < rows; ++row) {
                const float* source = from + row * stride + block * width_;
                float* to = data_.data() + (block * rows_ + row) * width_;
                std::copy(source, source + here, to);
                std::fill(to + here, to + vectors_for(here) * vector_, 0.f);
            }
        }
    }

    // From its transpose (columns, rows).
    void fill_transposed(const Kernels& kernels, const float* from, int64_t stride) {
        for (int64_t block = 0; block < blocks(); ++block) {
            const int64_t here = std::min(width_, columns_ - block * width_);
            kernels.transpose(from + block * width_ * stride, stride, here, rows_, data_.data() + block * rows_ * width_, width_);
        }
    }

private:
    int64_t width_, vector_, rows_, columns_;
    Array<float> data_;
};

// Above this share of entries a tile is multiplied with its zeros: that takes no list and fewer loads.
constexpr double kDenseFrom = 0.55;

}  // namespace sparse
