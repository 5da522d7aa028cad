// y = x A^T: positions are transposed into panels, sixteen at a time, and the results back.
#include <algorithm>

#include "layers/matrix.h"
#include "threads.h"

namespace sparse {

// Positions [0, count) of x as a panel: (padded columns, width), zero where there is nothing.
void Matrix::to_panel(const Kernels& kernels, const float* x, int count, int width, float* panel) const {
    if (count < width) std::fill(panel, panel + columns_ * width, 0.f);
    kernels.transpose(x, columns_, count, columns_, panel, width);
    std::fill(panel + columns_ * width, panel + padded_columns_ * width, 0.f);
}

void Matrix::linear(const Kernels& kernels, const float* x, int64_t n, float* y, float* scratch) const {
    float* result = scratch + kWidest * padded_columns_;
    for (int64_t first = 0; first < n; first += kWidest) {
        const float* from = x + first * columns_;
        float* to = y + first * rows_;
        const int width = width_for(n - first), count = int(std::min<int64_t>(n - first, width));
        const bool as_it_is = width == 1 && padded_columns_ == columns_;
        if (!as_it_is) to_panel(kernels, from, count, width, scratch);
        if (width == 1) {
            product(kernels, width, 0, units(), as_it_is ? from : scratch, {to, 1, 1});
        } else {
            product(kernels, width, 0, units(), scratch, {result, width, width});
            kernels.transpose(result, width, rows_, count, to, rows_);
        }
    }
}

void Matrix::linear(const Kernels& kernels, const float* x, int64_t n, float* y, int threads) const {
    if (stored() == 0 || n == 0) {
        std::fill(y, y + rows_ * n, 0.f);
        return;
    }
    if (n == 1) {
        multiply(kernels, x, 1, y, threads);
        return;
    }
    const int64_t panels = (n + kWidest - 1) / kWidest;
    if (threads <= panels) {  // each thread has panels of its own
        const std::unique_ptr<float[]> scratch(new float[scratch_size() * threads]);
        in_parallel(threads, [&](int part) {
            const int64_t begin = panels * part / threads * kWidest, end = panels * (part + 1) / threads * kWidest;
            linear(kernels, x + begin * columns_, std::min(end, n) - begin, y + begin * rows_,
                   scratch.get() + scratch_size() * part);
        });
        return;
    }
    // Fewer panels than threads: they share each panel.
    const std::unique_ptr<float[]> scratch(new float[scratch_size()]);
    float* result = scratch.get() + kWidest * padded_columns_;
    const int parts = int(std::min<int64_t>(threads, units()));
    for (int64_t first = 0; first < n; first += kWidest) {
        const int width = width_for(n - first), count = int(std::min<int64_t>(n - first, width));
        to_panel(kernels, x + first * columns_, count, width, scratch.get());
        in_parallel(parts, [&](int part) {
            product(kernels, width, boundary(part, parts), boundary(part + 1, parts), scratch.get(),
                    {result, width, width});
        });
        kernels.transpose(result, width, rows_, count, y + first * rows_, rows_);
    }
}

}  // namespace sparse
