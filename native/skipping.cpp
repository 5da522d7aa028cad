// Large products that skip the zeros of gate gradients.
#include "threads.h"
#include "tile_work.h"
#include "training.h"

namespace sparse {
namespace {

constexpr int64_t kRowsAtOnce = 256;  // of x: a tile of the weight is fetched once for all of them

int members_of(int64_t number, int threads) {
    return int(std::max<int64_t>(1, std::min<int64_t>(threads, number / kTileDepth)));
}

}  // namespace

void skipping_product(const Kernels& kernels, const float* x, int64_t n, int64_t depth, const float* weight,
                      int64_t columns, float* y, int64_t y_stride, int threads) {
    const int members = members_of(n, threads);
    Tiles tiles(kernels, depth, columns);
    Barrier barrier(members);
    in_parallel(members, [&](int member) {
        tiles.fill(weight, columns, share(depth, member, members), share(depth, member + 1, members));
        barrier.wait();
        const int64_t end = share(n, member + 1, members);
        std::vector<EntryList> lists((depth + kTileDepth - 1) / kTileDepth, EntryList(std::min(kRowsAtOnce, n)));
        for (int64_t first = share(n, member, members); first < end; first += kRowsAtOnce) {
            const int64_t rows = std::min(kRowsAtOnce, end - first);
            std::fill_n(y + first * y_stride, rows * y_stride, 0.f);
            for (int64_t k = 0; k < depth; k += kTileDepth) {
                kernels.list_entries(x + first * depth + k, depth, rows, std::min(kTileDepth, depth - k),
                                     lists[k / kTileDepth].entries());
            }
            for (int64_t block = 0; block < tiles.blocks(); ++block) {
                for (int64_t k = 0; k < depth; k += kTileDepth) {
                    kernels.add_listed(lists[k / kTileDepth].entries(), rows, tiles.tile(block, k),
                                       y + first * y_stride + block * kernels.tile_width, y_stride, tiles.vectors(block));
                }
            }
        }
    });
}

void skipping_outer(const Kernels& kernels, const float* x, int64_t n, int64_t rows, const float* z, int64_t columns,
                    float* y, int64_t y_stride, int threads) {
    const int members = members_of(rows, threads);
    in_parallel(members, [&](int member) {
        const int64_t from = share(rows, member, members), here = share(rows, member + 1, members) - from;
        std::fill_n(y + from * y_stride, here * y_stride, 0.f);
        Tiles tiles(kernels, kTileDepth, columns);
        Array<float> turned(here * kTileDepth);
        EntryList list(here);
        for (int64_t first = 0; first < n; first += kTileDepth) {
            const int64_t depth = std::min(kTileDepth, n - first);
            tiles.fill(z + first * columns, columns, 0, depth);
            kernels.transpose(x + first * rows + from, rows, depth, here, turned.data(), kTileDepth);
            kernels.list_entries(turned.data(), kTileDepth, here, depth, list.entries());
            for (int64_t block = 0; block < tiles.blocks(); ++block) {
                kernels.add_listed(list.entries(), here, tiles.tile(block, 0),
                                   y + from * y_stride + block * kernels.tile_width, y_stride, tiles.vectors(block));
            }
        }
    });
}

}  // namespace sparse
