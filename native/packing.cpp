// From compressed sparse rows to the layouts of layout.h. Everything the kernels rely on is checked here, once.
#include <algorithm>
#include <numeric>

#include "matrix.h"

namespace sparse {
namespace {

constexpr int64_t kMostColumns = 65536;  // 16-bit indices
constexpr int64_t kMostRows = int64_t(1) << 32;

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

std::string text(int64_t number) { return std::to_string(number); }

void check(const Source& s) {
    const bool known = (s.block_columns == 1 && (s.block_rows == 1 || s.block_rows == 8 || s.block_rows == 16)) ||
                       (s.block_rows == 4 && s.block_columns == 4);
    if (!known) refuse("blocks of " + text(s.block_rows) + "x" + text(s.block_columns) + ": not 1x1, 8x1, 16x1 or 4x4");
    if (s.rows < 0 || s.columns < 0 || s.rows > kMostRows) {
        refuse("a matrix of " + text(s.rows) + "x" + text(s.columns) + ": 0 to " + text(kMostRows) + " rows are possible");
    }
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
      block_rows_(source.block_rows),
      block_columns_(source.block_columns) {
    check(source);
    padded_columns_ = (columns_ + block_columns_ - 1) / block_columns_ * block_columns_;
    if (block_rows_ == 1) {
        pack_single(source);
    } else {
        pack_blocks(source);
    }
}

void Matrix::pack_single(const Source& s) {
    std::vector<int64_t> order(rows_);
    std::iota(order.begin(), order.end(), 0);
    const auto entries = [&](int64_t row) { return s.starts[row + 1] - s.starts[row]; };
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return entries(a) > entries(b); });

    const int64_t slices = (rows_ + kLanes - 1) / kLanes;
    start_.assign(slices + 1, 0);
    steps_.assign(slices, 0);
    rest_.assign(slices * kLanes, 0);
    row_.assign(slices * kLanes, -1);
    column_.reserve(s.indices_size);
    value_.reserve(s.indices_size);
    const auto add = [&](int64_t entry) {
        column_.push_back(uint16_t(s.indices[entry]));
        value_.push_back(s.values[entry]);
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
        start_[slice + 1] = int64_t(value_.size());
    }
}

void Matrix::pack_blocks(const Source& s) {
    start_.assign(s.starts, s.starts + s.starts_size);
    column_.resize(s.indices_size);
    std::transform(s.indices, s.indices + s.indices_size, column_.begin(), [](int64_t i) { return uint16_t(i); });
    value_.assign(s.values, s.values + s.values_size);
}

int64_t Matrix::bytes() const {
    return int64_t(start_.size() * sizeof(int64_t) + steps_.size() * sizeof(uint32_t) + rest_.size() * sizeof(uint32_t) +
                   row_.size() * sizeof(int64_t) + column_.size() * sizeof(uint16_t) + value_.size() * sizeof(float));
}

}  // namespace sparse
