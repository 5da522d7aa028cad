// From compressed sparse rows, or all values, to the layouts of matrices.h. All that keeps the kernels inside their memory
// is checked here; zeros beyond the last column are the business of engine/products.py.
#include <algorithm>
#include <numeric>

#include "layers/matrix.h"

namespace sparse {
namespace {

constexpr int64_t kMostColumns = 65536;  // 16-bit indices
constexpr int64_t kMostWithoutColumns = 1 << 20;  // rows that no value stands for
constexpr int64_t kMost = int64_t(1) << 31;  // of rows and columns: their product is a number

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

std::string text(int64_t number) { return std::to_string(number); }

void check_sizes(const Source& s) {
    if (s.rows < 0 || s.columns < 0 || s.rows > kMost || s.columns > kMost) {
        refuse("a matrix of " + text(s.rows) + "x" + text(s.columns) + ": 0 to " + text(kMost) +
               " rows and columns are possible");
    }
    if (s.columns == 0 && s.rows > kMostWithoutColumns) {
        refuse(text(s.rows) + " rows without columns: " + text(kMostWithoutColumns) + " are possible");
    }
    const bool scaled = std::holds_alternative<const int8_t*>(s.values);
    if (int64_t(s.scales_size) != (scaled ? s.rows : 0)) {
        refuse(text(int64_t(s.scales_size)) + " scales for " + text(s.rows) + " rows of " +
               (scaled ? "int8: one each is needed" : "floats: none are needed"));
    }
}

void check_dense(const Source& s) {
    const int64_t wanted = (s.rows + kLanes - 1) / kLanes * kLanes * s.columns;
    if (int64_t(s.values_size) != wanted) {
        refuse(text(int64_t(s.values_size)) + " values for a dense matrix of " + text(s.rows) + "x" + text(s.columns) +
               ": whole blocks of 16 rows need " + text(wanted));
    }
}

void check_blocks(const Source& s) {
    const bool known = (s.block_columns == 1 && (s.block_rows == 1 || s.block_rows == 8 || s.block_rows == 16)) ||
                       (s.block_rows == 4 && s.block_columns == 4);
    if (!known) refuse("blocks of " + text(s.block_rows) + "x" + text(s.block_columns) + ": not 1x1, 8x1, 16x1 or 4x4");
    if (s.columns > kMostColumns) {
        refuse("a matrix of " + text(s.columns) + " columns: at most " + text(kMostColumns) + " have 16-bit indices");
    }
    const int64_t units = (s.rows + s.block_rows - 1) / s.block_rows;
    const int64_t across = (s.columns + s.block_columns - 1) / s.block_columns;
    const int64_t blocks = int64_t(s.indices_size);
    if (int64_t(s.starts_size) != units + 1) {
        refuse(text(int64_t(s.starts_size)) + " starts for " + text(units) + " rows of blocks: one more is needed");
    }
    if (s.values_size != s.indices_size * size_t(s.block_rows * s.block_columns)) {
        refuse(text(int64_t(s.values_size)) + " values for " + text(blocks) + " blocks of " +
               text(s.block_rows) + "x" + text(s.block_columns));
    }
    if (s.starts[0] != 0 || s.starts[units] != blocks) {
        refuse("starts from " + text(s.starts[0]) + " to " + text(s.starts[units]) + " for " + text(blocks) + " blocks");
    }
    for (int64_t unit = 0; unit < units; ++unit) {
        const int64_t from = s.starts[unit], to = s.starts[unit + 1];
        if (to < from || to > blocks) {
            refuse("row " + text(unit) + " of blocks reaches from " + text(from) + " to " + text(to) + " of " +
                   text(blocks));
        }
        int64_t previous = -1;
        for (int64_t i = from; i < to; ++i) {
            if (s.indices[i] <= previous || s.indices[i] >= across) {
                refuse("index " + text(s.indices[i]) + " behind " + text(previous) + " in row " + text(unit) +
                       " of blocks: indices rise and are below " + text(across));
            }
            previous = s.indices[i];
        }
    }
}

}  // namespace

Matrix::Matrix(const Source& source)
    : rows_(source.rows),
      columns_(source.columns),
      dense_(source.dense),
      block_rows_(source.dense ? kLanes : source.block_rows),
      block_columns_(source.dense ? 1 : source.block_columns) {
    check_sizes(source);
    dense_ ? check_dense(source) : check_blocks(source);
    padded_columns_ = (columns_ + block_columns_ - 1) / block_columns_ * block_columns_;
    scale_.assign(source.scales, source.scales + source.scales_size);
    if (block_rows_ == 1) {
        std::visit([&](auto values) { pack_single(source, values); }, source.values);
    } else {
        pack_blocks(source);
    }
}

template <class T>
void Matrix::pack_single(const Source& s, const T* values) {
    std::vector<int64_t> order(rows_);
    std::iota(order.begin(), order.end(), 0);
    const auto entries = [&](int64_t row) { return s.starts[row + 1] - s.starts[row]; };
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return entries(a) > entries(b); });

    const int64_t slices = (rows_ + kLanes - 1) / kLanes;
    start_.assign(slices + 1, 0);
    steps_.assign(slices, 0);
    rest_.assign(slices * kLanes, 0);
    row_.assign(slices * kLanes, -1);
    Array<T>& value = value_.emplace<Array<T>>();
    column_.reserve(s.indices_size);
    value.reserve(s.indices_size);
    const auto add = [&](int64_t entry) {
        column_.push_back(uint16_t(s.indices[entry]));
        value.push_back(values[entry]);
    };
    for (int64_t slice = 0; slice < slices; ++slice) {
        const int64_t first = slice * kLanes;
        const int lanes = int(std::min<int64_t>(kLanes, rows_ - first));
        // The sixteenth row is the shortest; a slice without one has no steps.
        const int64_t steps = lanes == kLanes ? entries(order[first + kLanes - 1]) : 0;
        steps_[slice] = uint32_t(steps);
        for (int64_t step = 0; step < steps; ++step) {
            for (int lane = 0; lane < kLanes; ++lane) add(s.starts[order[first + lane]] + step);
        }
        for (int lane = 0; lane < lanes; ++lane) {
            const int64_t row = order[first + lane];
            row_[first + lane] = row;
            rest_[first + lane] = uint32_t(entries(row) - steps);
            for (int64_t entry = s.starts[row] + steps; entry < s.starts[row + 1]; ++entry) add(entry);
        }
        start_[slice + 1] = int64_t(value.size());
    }
}

void Matrix::pack_blocks(const Source& s) {
    if (dense_) {
        for (int64_t unit = 0; unit <= (rows_ + kLanes - 1) / kLanes; ++unit) start_.push_back(unit * columns_);
    } else {
        start_.assign(s.starts, s.starts + s.starts_size);
        column_.resize(s.indices_size);
        std::transform(s.indices, s.indices + s.indices_size, column_.begin(), [](int64_t i) { return uint16_t(i); });
    }
    std::visit(
        [&](auto values) {
            using T = std::remove_const_t<std::remove_pointer_t<decltype(values)>>;
            value_.emplace<Array<T>>(values, values + s.values_size);
        },
        s.values);
}

int64_t Matrix::stored() const {
    if (dense_) return rows_ * columns_;
    return std::visit([](const auto& value) { return int64_t(value.size()); }, value_);
}

int64_t Matrix::bytes() const {
    const auto size = [](const auto& array) { return int64_t(array.size() * sizeof(array[0])); };
    return size(start_) + size(steps_) + size(rest_) + size(row_) + size(column_) + size(scale_) +
           std::visit(size, value_);
}

}  // namespace sparse
