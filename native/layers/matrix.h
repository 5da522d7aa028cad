// A matrix that owns its memory, packed for the kernels.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "layouts/kernels.h"

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

// Which entries are stored, as a compressed sparse row matrix of blocks says it. A dense matrix has blocks of 16x1, all of
// them: neither starts nor indices.
struct Source {
    int64_t rows, columns;
    bool dense;
    int block_rows, block_columns;
    const int64_t* starts;   // (block rows + 1)
    size_t starts_size;
    const int64_t* indices;  // (blocks) block columns, rising within a block row
    size_t indices_size;
    std::variant<const float*, const Half*, const int8_t*> values;  // (blocks, block_rows, block_columns)
    size_t values_size;
    const float* scales;     // (rows) if values are int8_t, otherwise none
    size_t scales_size;
};

class Matrix {
public:
    // Checks `source`, which nobody may change meanwhile, and packs a copy; throws std::invalid_argument with the numbers if it is no such matrix.
    explicit Matrix(const Source& source);

    // y = A x on `threads` threads: x (columns, batch), y (rows, batch), both without gaps.
    void multiply(const Kernels& kernels, const float* x, int64_t batch, float* y, int threads) const;

    // y = x A^T on `threads` threads, as torch.nn.Linear: x (n, columns), y (n, rows), both without gaps.
    void linear(const Kernels& kernels, const float* x, int64_t n, float* y, int threads) const;

    // The same on the calling thread, which owns `scratch`: scratch_size() floats. Allocates nothing, takes no lock.
    void linear(const Kernels& kernels, const float* x, int64_t n, float* y, float* scratch) const;
    int64_t scratch_size() const { return kWidest * (padded_columns_ + rows_); }

    // The piece that all of these are made of, for callers with threads of their own. Computes the rows of units
    // [begin, end) for one panel: y[row * stride + i] = sum over columns of A[row][column] * x[column * width + i], for
    // i < count <= width. `width` is 1, 4, 8 or 16, x is (padded_columns(), width), zero beyond columns(). Rows of other
    // units are not touched. Allocates nothing, takes no lock.
    void product(const Kernels& kernels, int width, int64_t begin, int64_t end, const float* x, Output y) const;

    // Units of work: sixteen rows of single weights in an order of their own, or a row of blocks, whose rows are
    // [unit * block rows, ...). Part p of several has units [boundary(p, parts), boundary(p + 1, parts)), so that parts
    // have about equally many entries.
    int64_t units() const { return int64_t(start_.size()) - 1; }
    int64_t boundary(int part, int parts) const;

    // The panel for `left` more columns of x. One of 16 takes about twice the time of one column alone: a few columns too
    // many are cheaper than another panel.
    static int width_for(int64_t left) { return left <= 1 ? 1 : left <= 4 ? 4 : left <= 8 ? 8 : 16; }

    int64_t rows() const { return rows_; }
    int64_t columns() const { return columns_; }
    int64_t padded_columns() const { return padded_columns_; }  // what the kernels read of x: whole blocks
    int64_t stored() const;
    int64_t bytes() const;

private:
    template <class T>
    void pack_single(const Source& source, const T* values);
    void pack_blocks(const Source& source);
    void to_panel(const Kernels&, const float* x, int count, int width, float* panel) const;

    int64_t rows_, columns_;
    bool dense_;
    int block_rows_, block_columns_;
    int64_t padded_columns_;
    Array<int64_t> start_;  // of each unit: slice or block row
    Array<uint32_t> steps_, rest_;
    Array<int64_t> row_;
    Array<uint16_t> column_;
    std::variant<Array<float>, Array<Half>, Array<int8_t>> value_;
    Array<float> scale_;
};

}  // namespace sparse
