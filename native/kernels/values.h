// From stored values to float32, exactly. Included by kernels.cpp's parts, once per instruction set.
#pragma once

#include "layouts/matrices.h"
#include "kernels/vector.h"

namespace {

using sparse::Half;

constexpr int kRun = 1024;  // floats that panels widen at a time: 4 KB, which stay in the first-level cache

template <int N>
inline Vector<N> load(const Half* from) {
#if defined(__AVX512F__)
    if constexpr (N == 16) return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
#endif
#if defined(__F16C__)
    if constexpr (N == 8) return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from));
    if constexpr (N == 4) return _mm_cvtph_ps(_mm_loadl_epi64((const __m128i*)from));
#else
    using Bits = typename VectorOf<int32_t, N>::type;
#if defined(__SSE2__)
    static_assert(N == 4, "");
    const Bits bits = (Bits)_mm_unpacklo_epi16(_mm_loadl_epi64((const __m128i*)from), _mm_setzero_si128());
#else
    typename VectorOf<uint16_t, N>::type halves;
    __builtin_memcpy(&halves, from, sizeof halves);
    const Bits bits = __builtin_convertvector(halves, Bits);
#endif
    const Bits magnitude = bits & 0x7fff;
    // The exponent's bias grows from 15 to 127, and once more by as much where it means infinity or NaN.
    const Bits normal = (magnitude << 13) + 0x38000000 + ((magnitude >= 0x7c00) & 0x38000000);
    // Subnormal as float16, never as float32.
    const Bits small = (Bits)(__builtin_convertvector(magnitude, Vector<N>) * 0x1p-24f), is_small = magnitude < 0x400;
    return (Vector<N>)((is_small & small) | (~is_small & normal) | (bits & 0x8000) << 16);
#endif
}

template <int N>
inline Vector<N> load(const int8_t* from) {
#if defined(__AVX512F__)
    if constexpr (N == 16) {
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)from)));
    } else
#endif
#if defined(__AVX2__)
    if constexpr (N == 8) {
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)from)));
    } else
#endif
    {
        static_assert(N == 4, "");
#if defined(__SSE2__)
        int32_t four;
        __builtin_memcpy(&four, from, sizeof four);
        const __m128i bytes = _mm_cvtsi32_si128(four), pairs = _mm_unpacklo_epi8(bytes, bytes);
        return _mm_cvtepi32_ps(_mm_srai_epi32(_mm_unpacklo_epi16(pairs, pairs), 24));  // a byte four times, then its sign
#else
        typename VectorOf<int8_t, N>::type bytes;
        __builtin_memcpy(&bytes, from, sizeof bytes);
        return __builtin_convertvector(bytes, Vector<N>);
#endif
    }
}

inline float widened(float value) { return value; }
inline float widened(int8_t value) { return value; }
inline float widened(Half half) {
#if defined(__F16C__)
    return _cvtsh_ss(half.bits);
#else
    const Half halves[4] = {half};
    return load<4>(halves)[0];
#endif
}

// `count` values as floats: where they are, or in `to`.
template <class T>
inline const float* widen(const T* from, int count, float* to) {
    if constexpr (sizeof(T) == sizeof(float)) {
        return from;
    } else {
        int i = 0;
        for (; i + kWidth <= count; i += kWidth) store<kWidth>(to + i, load<kWidth>(from + i));
        for (; i < count; ++i) to[i] = widened(from[i]);
        return to;
    }
}

// The sums of a row, N of them, times its scale if values of T have one.
template <class T, int N>
inline void rescale(float* sums, const float* scale, int64_t row) {
    if constexpr (sizeof(T) == 1) {
        for (int i = 0; i < N; ++i) sums[i] *= scale[row];
    }
}

}  // namespace
