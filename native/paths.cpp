#include "paths.h"

#include <atomic>
#include <chrono>
#include <random>
#include <stdexcept>

#include "layers/matrix.h"

namespace sparse {

// SPARSE_HAS_...: which objects CMakeLists.txt could compile.
#ifdef SPARSE_HAS_NEON
namespace neon { extern const Kernels kernels; }
#else
namespace baseline { extern const Kernels kernels; }
#endif
#ifdef SPARSE_HAS_AVX2
namespace avx2 { extern const Kernels kernels, gathers; }
#endif
#ifdef SPARSE_HAS_AVX512
namespace avx512 { extern const Kernels kernels, gathers; }
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
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
        usable.insert(usable.end(), {&avx2::kernels, &avx2::gathers});
    }
#endif
#ifdef SPARSE_HAS_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
        usable.insert(usable.end(), {&avx512::kernels, &avx512::gathers});
    }
#endif
    return usable;
}

namespace {

// Shortest of several products, in seconds.
double seconds(const Kernels& kernels, const Matrix& matrix, const std::vector<float>& x, std::vector<float>& y) {
    double least = 1;
    for (int run = 0; run < 8; ++run) {
        const auto start = std::chrono::steady_clock::now();
        matrix.multiply(kernels, x.data(), 1, y.data(), 1);
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
        least = taken.count() < least ? taken.count() : least;
    }
    return least;
}

// The widest instruction set, with or without its gathers: no flag of the processor tells whether they are fast, a small
// product does, in a fraction of a millisecond. Both give the same bits.
const Kernels* fastest() {
    const std::vector<const Kernels*> usable = paths();
    if (usable.size() == 1) return usable[0];
    constexpr int64_t kRows = 256, kColumns = 1024, kEach = 96;
    std::mt19937 random(1);
    std::vector<int64_t> starts{0}, indices;
    for (int64_t row = 0; row < kRows; ++row) {
        for (int64_t i = 0; i < kEach; ++i) indices.push_back(i * kColumns / kEach + random() % (kColumns / kEach));
        starts.push_back(int64_t(indices.size()));
    }
    const std::vector<float> values(indices.size(), 1.f), x(kColumns, 1.f);
    std::vector<float> y(kRows);
    const Matrix matrix({kRows, kColumns, false, 1, 1, starts.data(), starts.size(), indices.data(), indices.size(),
                         values.data(), values.size(), nullptr, 0});
    const Kernels *loads = usable[usable.size() - 2], *gathers = usable.back();
    return seconds(*gathers, matrix, x, y) < seconds(*loads, matrix, x, y) ? gathers : loads;
}

std::atomic<const Kernels*>& chosen() {
    static std::atomic<const Kernels*> kernels{fastest()};
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
