// One product: x cut into panels that the kernels know, rows divided between threads.
#include <algorithm>

#include "layers/matrix.h"
#include "threads.h"

namespace sparse {
namespace {

// Columns [first, first + count) of x, computed as a panel of `width` columns.
struct Panel {
    int64_t first;
    int width, count;
    const float* data;  // (columns, width) without gaps
};

std::vector<Panel> panels_of(int64_t batch) {
    std::vector<Panel> panels;
    for (int64_t first = 0; first < batch; first += panels.back().width) {
        const int width = Matrix::width_for(batch - first);
        panels.push_back({first, width, int(std::min<int64_t>(batch - first, width)), nullptr});
    }
    return panels;
}

void copy(const float* x, int64_t batch, int64_t columns, int64_t padded, const Panel& panel, float* to) {
    for (int64_t column = 0; column < columns; ++column, to += panel.width) {
        const float* from = x + column * batch + panel.first;
        std::copy(from, from + panel.count, to);
        std::fill(to + panel.count, to + panel.width, 0.f);
    }
    std::fill(to, to + (padded - columns) * panel.width, 0.f);
}

int index_of(int width) { return int(std::find(std::begin(kWidths), std::end(kWidths), width) - std::begin(kWidths)); }

}  // namespace

void Matrix::product(const Kernels& k, int width, int64_t begin, int64_t end, const float* x, Output y) const {
    const int w = index_of(width);
    std::visit(
        [&](const auto& value) {
            using T = std::remove_const_t<std::remove_reference_t<decltype(value[0])>>;
            const Products<T>& products = products_of(k, T{});
            if (block_rows_ == 1) {
                const Unstructured<T> a{columns_,    start_.data(),  steps_.data(), rest_.data(),
                                        row_.data(), column_.data(), value.data(),  scale_.data()};
                products.unstructured[w](a, begin, end, x, y);
                return;
            }
            const Blocks<T> a{rows_, start_.data(), column_.data(), value.data(), scale_.data()};
            const auto& blocks = dense_              ? products.dense
                                 : block_rows_ == 8  ? products.blocks_8x1
                                 : block_rows_ == 16 ? products.blocks_16x1
                                                     : products.blocks_4x4;
            blocks[w](a, begin, end, x, y);
        },
        value_);
}

int64_t Matrix::boundary(int part, int parts) const {
    if (part == 0) return 0;
    if (part == parts) return units();
    // A unit costs a little even without entries: without the second term, empty rows would all fall to one thread.
    const auto cost = [&](int64_t unit) { return start_[unit] + unit; };
    const int64_t wanted = cost(units()) * part / parts;
    int64_t low = 0, high = units();
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (cost(middle) < wanted) low = middle + 1; else high = middle;
    }
    return low;
}

void Matrix::multiply(const Kernels& kernels, const float* x, int64_t batch, float* y, int threads) const {
    if (stored() == 0 || batch == 0) {
        std::fill(y, y + rows_ * batch, 0.f);
        return;
    }
    std::vector<Panel> panels = panels_of(batch);
    std::unique_ptr<float[]> copies;
    if (panels[0].width == batch && padded_columns_ == columns_) {
        panels[0].data = x;
    } else {
        const Panel& last = panels.back();
        copies.reset(new float[std::max<int64_t>(padded_columns_ * (last.first + last.width), 1)]);
        for (Panel& panel : panels) {
            float* to = copies.get() + padded_columns_ * panel.first;
            copy(x, batch, columns_, padded_columns_, panel, to);
            panel.data = to;
        }
    }
    const int parts = int(std::min<int64_t>(threads, units()));
    in_parallel(parts, [&](int part) {
        const int64_t begin = boundary(part, parts), end = boundary(part + 1, parts);
        for (const Panel& panel : panels) {
            product(kernels, panel.width, begin, end, panel.data, {y + panel.first, batch, panel.count});
        }
    });
}

}  // namespace sparse
