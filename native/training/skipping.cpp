// Large products that skip the zeros of gate gradients.
#include <deque>

#include "threads.h"
#include "training/tile_work.h"
#include "training/training.h"

namespace sparse {
namespace {

// Of x or y: a tile of the other operand is packed once for all of them.
constexpr int64_t kRowsAtOnce = 256;

// Entries of x that a member lists at once: 3 MB, more where one tile of rows is longer.
constexpr int64_t kListed = 1 << 19;

// Rows of y that stay in the second-level cache until all of x^T z is added to them.
constexpr int64_t kStay = 1 << 18;  // floats

}  // namespace

void skipping_product(const Kernels& kernels, const float* x, int64_t n, int64_t depth, const float* weight,
                      int64_t columns, float* y, int64_t y_stride, int threads) {
    const int members = members_of(n, threads);
    const int64_t at_once = std::min(kRowsAtOnce, std::max(kTileDepth, kListed / whole(std::max<int64_t>(depth, 1), kTileDepth)));
    const int64_t width = kernels.tile_width;
    struct Own {
        std::vector<EntryList> lists;
        Tiles tile;
    };
    std::deque<Own> owns;  // all memory is taken here: work must not throw
    for (int member = 0; member < members; ++member) {
        owns.push_back({std::vector<EntryList>((depth + kTileDepth - 1) / kTileDepth, EntryList(std::min(at_once, n))),
                        Tiles(kernels, kTileDepth, width)});
    }
    in_parallel(members, [&](int member) {
        const int64_t end = share(n, member + 1, members);
        auto& [lists, tile] = owns[member];
        for (int64_t first = share(n, member, members); first < end; first += at_once) {
            const int64_t rows = std::min(at_once, end - first);
            std::fill_n(y + first * y_stride, rows * y_stride, 0.f);
            for (int64_t k = 0; k < depth; k += kTileDepth) {
                kernels.list_entries(x + first * depth + k, depth, rows, std::min(kTileDepth, depth - k),
                                     lists[k / kTileDepth].entries());
            }
            for (int64_t column = 0; column < columns; column += width) {
                const int64_t here = std::min(width, columns - column);
                for (int64_t k = 0; k < depth; k += kTileDepth) {
                    tile.fill(weight + k * columns + column, columns, here, std::min(kTileDepth, depth - k));
                    kernels.add_listed(lists[k / kTileDepth].entries(), rows, tile.tile(0, 0),
                                       y + first * y_stride + column, y_stride, tile.vectors_for(here));
                }
            }
        }
    });
}

void skipping_outer(const Kernels& kernels, const float* x, int64_t n, int64_t rows, const float* z, int64_t columns,
                    float* y, int64_t y_stride, int threads) {
    const int members = members_of(rows, threads);
    const int64_t at_once = std::min(kRowsAtOnce, std::max(kTileDepth, whole(kStay / std::max<int64_t>(y_stride, 1), kWidest)));
    const int64_t width = kernels.tile_width;
    struct Own {
        Tiles tile;
        Array<float> turned;
        EntryList list;
    };
    std::deque<Own> owns;  // all memory is taken here: work must not throw
    for (int member = 0; member < members; ++member) {
        owns.push_back({Tiles(kernels, kTileDepth, width), Array<float>(at_once * kTileDepth), EntryList(at_once)});
    }
    in_parallel(members, [&](int member) {
        const int64_t end = share(rows, member + 1, members);
        auto& [tile, turned, list] = owns[member];
        for (int64_t from = share(rows, member, members); from < end; from += at_once) {
            const int64_t here = std::min(at_once, end - from);
            std::fill_n(y + from * y_stride, here * y_stride, 0.f);
            for (int64_t first = 0; first < n; first += kTileDepth) {
                const int64_t depth = std::min(kTileDepth, n - first);
                kernels.transpose(x + first * rows + from, rows, depth, here, turned.data(), kTileDepth);
                kernels.list_entries(turned.data(), kTileDepth, here, depth, list.entries());
                for (int64_t column = 0; column < columns; column += width) {
                    const int64_t wide = std::min(width, columns - column);
                    tile.fill(z + first * columns + column, columns, wide, depth);
                    kernels.add_listed(list.entries(), here, tile.tile(0, 0), y + from * y_stride + column, y_stride,
                                       tile.vectors_for(wide));
                }
            }
        }
    });
}

}  // namespace sparse
