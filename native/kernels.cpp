// Compiled once per instruction set with its flags and SPARSE_PATH: baseline, avx2, avx512 or neon. See CMakeLists.txt.
#include "kernels.h"

#include "blocks.h"
#include "convolve.h"
#include "unstructured.h"

#define SPARSE_TEXT(name) #name
#define SPARSE_STRING(name) SPARSE_TEXT(name)

namespace sparse {
namespace SPARSE_PATH {

#define SPARSE_KERNELS(name, X) \
    { \
        name, \
        {unstructured_vector<X>, unstructured_panel<4>, unstructured_panel<8>, unstructured_panel<16>}, \
        {columns_vector<8>, columns_panel<8, 4>, columns_panel<8, 8>, columns_panel<8, 16>}, \
        {columns_vector<16>, columns_panel<16, 4>, columns_panel<16, 8>, columns_panel<16, 16>}, \
        {squares_vector, squares_panel<4>, squares_panel<8>, squares_panel<16>}, \
        kTileFrames, convolve, convolve_scratch, \
    }

extern const Kernels kernels;
const Kernels kernels = SPARSE_KERNELS(SPARSE_STRING(SPARSE_PATH), Loads);

#if defined(__AVX2__)
extern const Kernels gathers;
const Kernels gathers = SPARSE_KERNELS(SPARSE_STRING(SPARSE_PATH) "-gather", Gathers);
#endif

}  // namespace SPARSE_PATH
}  // namespace sparse
