// Vectors of the instruction set a file is compiled for, through the vector extensions of GCC and Clang.
//
// Only kernels.cpp includes this. No standard templates here or there: a std function compiled for AVX-512 could be the
// copy that the linker keeps for all, and crash on the machines that the baseline is for.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16;         // floats in the widest vector
constexpr int kAccumulators = 16;  // vectors that may hold sums, half of the registers
#elif defined(__AVX2__)
constexpr int kWidth = 8;
constexpr int kAccumulators = 8;
#elif defined(__ARM_NEON) && defined(__aarch64__)
constexpr int kWidth = 4;
constexpr int kAccumulators = 16;
#else
constexpr int kWidth = 4;
constexpr int kAccumulators = 8;
#endif

constexpr int smaller(int a, int b) { return a < b ? a : b; }

template <class T, int N>
struct VectorOf {
    typedef T type __attribute__((vector_size(N * sizeof(T))));
};
template <int N>
using Vector = typename VectorOf<float, N>::type;

template <int N>
inline Vector<N> load(const float* from) {
    Vector<N> vector;
    __builtin_memcpy(&vector, from, sizeof vector);  // any alignment; one instruction
    return vector;
}

template <int N>
inline void store(float* to, Vector<N> vector) {
    __builtin_memcpy(to, &vector, sizeof vector);
}

#if defined(__AVX2__)
// Four consecutive floats, as often as they fit; and one of the four in all places. A processor fetches one float into
// all places of a vector no faster than a whole vector: where loads are what a product waits for, this saves 3 of 4.
template <int N>
inline Vector<N> load_fours(const float* from) {
#if defined(__AVX512F__)
    if constexpr (N == 16) return _mm512_broadcast_f32x4(_mm_loadu_ps(from));
#endif
    if constexpr (N == 8) return _mm256_broadcast_ps((const __m128*)from);
}

template <int I, int N>
inline Vector<N> spread(Vector<N> fours) {
#if defined(__AVX512F__)
    if constexpr (N == 16) return _mm512_permute_ps(fours, I * 0x55);
#endif
    if constexpr (N == 8) return _mm256_permute_ps(fours, I * 0x55);
}
#endif

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "columns are read four at a time");

// N columns. Four at once come in one load and are taken apart in registers: most products here wait for loads.
template <int N>
inline void read_columns(const uint16_t* from, size_t* columns) {
    if constexpr (N % 4 == 0) {
#pragma GCC unroll 4
        for (int i = 0; i < N; i += 4) {
            uint64_t four;
            __builtin_memcpy(&four, from + i, sizeof four);
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) columns[i + j] = four >> 16 * j & 0xffff;
        }
    } else {
        for (int i = 0; i < N; ++i) columns[i] = from[i];
    }
}

// x[column[0]], x[column[1]], ...: the one thing that vector extensions cannot say. There are two ways.

// One load each. The four columns come in one load and are taken apart in registers, worth 5 %.
struct Loads {
    static constexpr int kWide = smaller(kWidth, 8);

    template <int N>
    static Vector<N> pick(const float* x, const uint16_t* column) {
        static_assert(N == 4 || N == 8, "");
        if constexpr (N == 4) {
            uint64_t c;
            __builtin_memcpy(&c, column, sizeof c);
            return Vector<4>{x[c & 0xffff], x[c >> 16 & 0xffff], x[c >> 32 & 0xffff], x[c >> 48]};
        } else {
#if defined(__AVX2__)
            return _mm256_set_m128(pick<4>(x, column + 4), pick<4>(x, column));
#endif
        }
    }
};

// The instruction for it: up to 1.3 times as fast, or several times slower where microcode guards it ("Downfall").
#if defined(__AVX2__)
struct Gathers {
    static constexpr int kWide = kWidth;

    template <int N>
    static Vector<N> pick(const float* x, const uint16_t* column) {
#if defined(__AVX512F__)
        if constexpr (N == 16) {
            return _mm512_i32gather_ps(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)column)), x, 4);
        } else
#endif
        {
            static_assert(N == 8, "");
            return _mm256_i32gather_ps(x, _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)column)), 4);
        }
    }
};
#endif

template <int N>
inline float total(Vector<N> vector) {
    float sum = 0;
    for (int i = 0; i < N; ++i) sum += vector[i];
    return sum;
}

// One row of a panel's result; the panel may be wider than what is left of the result.
template <int B>
inline void write(const float* sums, float* to, int count) {
    if (count == B) {
        __builtin_memcpy(to, sums, B * sizeof(float));
    } else {
        for (int i = 0; i < count; ++i) to[i] = sums[i];
    }
}

}  // namespace
