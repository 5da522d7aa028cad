// A sparse matrix that owns its memory, packed for the kernels.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"

namespace sparse {

// Cache lines that begin with the data: a step of the unstructured layout is one line of values.
template <class T>
struct Aligned {
    using value_type = T;
    Aligned() = default;
    template <class U>
    Aligned(const Aligned<U>&) {}
    T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(64))); }
    void deallocate(T* data, size_t) { ::operator delete(data, std::align_val_t(64)); }
    bool operator==(const Aligned&) const { return true; }
    bool operator!=(const Aligned&) const { return false; }
};
template <class T>
using Array = std::vector<T, Aligned<T>>;

// Which entries are stored, as a compressed sparse row matrix of blocks says it.
struct Source {
    int64_t rows, columns;
    int block_rows, block_columns;
    const int64_t* starts;   // (block rows + 1)
    size_t starts_size;
    const int64_t* indices;  // (blocks) block columns, rising within a block row
    size_t indices_size;
    const float* values;     // (blocks, block_rows, block_columns)
    size_t values_size;
};

class Matrix {
public:
    // Packs a checked copy of `source`; throws std::invalid_argument with the numbers if it is no such matrix.
    explicit Matrix(const Source& source);

    // y = A x on `threads` threads: x (columns, batch), y (rows, batch), both without gaps.
    void multiply(const Kernels& kernels, const float* x, int64_t batch, float* y, int threads) const;

    int64_t rows() const { return rows_; }
    int64_t columns() const { return columns_; }
    int64_t stored() const { return int64_t(value_.size()); }
    int64_t bytes() const;

    // For those that bring threads of their own: the product of a panel of x, (padded_columns(), width) with a width of
    // kWidths, and units [begin, end), which are slices or block rows.
    void product(const Kernels&, int width, int64_t begin, int64_t end, const float* x, Output y) const;
    int64_t units() const { return int64_t(start_.size()) - 1; }
    int64_t boundary(int part, int parts) const;  // first unit of a part, for parts with about equally many entries
    int64_t padded_columns() const { return padded_columns_; }

private:
    void pack_single(const Source& source);
    void pack_blocks(const Source& source);

    int64_t rows_, columns_;
    int block_rows_, block_columns_;
    int64_t padded_columns_;  // what the kernels read of x: whole blocks
    Array<int64_t> start_;    // of each unit: slice or block row
    Array<uint32_t> steps_, rest_;
    Array<int64_t> row_;
    Array<uint16_t> column_;
    Array<float> value_;
};

}  // namespace sparse
