#include "paths.h"

#include <atomic>
#include <stdexcept>

namespace sparse {

// SPARSE_HAS_...: which objects CMakeLists.txt could compile.
#ifdef SPARSE_HAS_NEON
namespace neon { extern const Kernels kernels; }
#else
namespace baseline { extern const Kernels kernels; }
#endif
#ifdef SPARSE_HAS_AVX2
namespace avx2 { extern const Kernels kernels; }
#endif
#ifdef SPARSE_HAS_AVX512
namespace avx512 { extern const Kernels kernels; }
#endif

std::vector<const Kernels*> paths() {
    std::vector<const Kernels*> usable;
#ifdef SPARSE_HAS_NEON
    usable.push_back(&neon::kernels);  // every 64-bit ARM has it
#else
    usable.push_back(&baseline::kernels);
#endif
    // These also ask the operating system whether it keeps the wide registers.
#ifdef SPARSE_HAS_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) usable.push_back(&avx2::kernels);
#endif
#ifdef SPARSE_HAS_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")) {
        usable.push_back(&avx512::kernels);
    }
#endif
    return usable;
}

namespace {

std::atomic<const Kernels*>& chosen() {
    static std::atomic<const Kernels*> kernels{paths().back()};
    return kernels;
}

}  // namespace

const Kernels& active() { return *chosen().load(); }

void select(const std::string& name) {
    std::string known;
    for (const Kernels* kernels : paths()) {
        if (kernels->name == name) {
            chosen().store(kernels);
            return;
        }
        known += known.empty() ? kernels->name : std::string(", ") + kernels->name;
    }
    throw std::invalid_argument("no kernels '" + name + "' on this machine: it has " + known);
}

}  // namespace sparse
