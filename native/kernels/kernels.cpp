// Compiled once per instruction set with its flags and SPARSE_PATH: baseline, avx2, avx512 or neon. See CMakeLists.txt.
#include "layouts/kernels.h"

#include "kernels/blocks.h"
#include "kernels/convolve.h"
#include "kernels/rounding.h"
#include "kernels/squares.h"
#include "kernels/step.h"
#include "kernels/tiles.h"
#include "kernels/train_step.h"
#include "kernels/transpose.h"
#include "kernels/unstructured.h"

#define SPARSE_TEXT(name) #name
#define SPARSE_STRING(name) SPARSE_TEXT(name)

namespace sparse {
namespace SPARSE_PATH {

#define SPARSE_COLUMNS(Columns, R, T) \
    {columns_vector<Columns, R, T>, columns_panel<Columns, R, 4, T>, columns_panel<Columns, R, 8, T>, \
     columns_panel<Columns, R, 16, T>}

#define SPARSE_PRODUCTS(X, T) \
    { \
        {unstructured_vector<X, T>, unstructured_panel<4, T>, unstructured_panel<8, T>, unstructured_panel<16, T>}, \
        SPARSE_COLUMNS(Listed, 8, T), \
        SPARSE_COLUMNS(Listed, 16, T), \
        {squares_vector<T>, squares_panel<4, T>, squares_panel<8, T>, squares_panel<16, T>}, \
        SPARSE_COLUMNS(Counted, 16, T), \
    }

#define SPARSE_TRAINING(step) \
    {step<TrainOneGate<Tanh>>, step<TrainGru>, step<TrainLstm>, step<TrainOneGate<ClippedRelu>>, \
     step<TrainOneGate<Relu>>}

#define SPARSE_KERNELS(name, X) \
    {name, SPARSE_PRODUCTS(X, float), SPARSE_PRODUCTS(X, Half), SPARSE_PRODUCTS(X, int8_t), transpose, \
     {step<OneGate<Tanh>>, step<Gru>, step<Lstm>, step<OneGate<ClippedRelu>>}, SPARSE_TRAINING(train_forward), \
     SPARSE_TRAINING(train_backward), round_small, keep_larger, keep_where, \
     kWidth, kTileWidth, list_entries, add_listed, add_dense, kTileFrames, convolve, \
     convolve_scratch}

extern const Kernels kernels;
const Kernels kernels = SPARSE_KERNELS(SPARSE_STRING(SPARSE_PATH), Loads);

#if defined(__AVX2__)
extern const Kernels gathers;
const Kernels gathers = SPARSE_KERNELS(SPARSE_STRING(SPARSE_PATH) "-gather", Gathers);
#endif

}  // namespace SPARSE_PATH
}  // namespace sparse
