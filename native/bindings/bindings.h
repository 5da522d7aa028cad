// The border to Python, one file of this folder per class.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string>

// Arrays as they cross the border: NumPy's, on the CPU, without gaps.
template <class T>
using VectorArgument = nanobind::ndarray<const T, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
using Input = nanobind::ndarray<const float, nanobind::c_contig, nanobind::device::cpu>;
using Result = nanobind::ndarray<float, nanobind::c_contig, nanobind::device::cpu>;

// "(3, 4)", for messages.
template <class Array>
std::string shape_of(const Array& array) {
    std::string text = "(";
    for (size_t i = 0; i < array.ndim(); ++i) text += (i ? ", " : "") + std::to_string(array.shape(i));
    return text + ")";
}

constexpr int kMostThreads = 1024;

inline void check_threads(int threads) {
    if (threads < 1 || threads > kMostThreads) throw nanobind::value_error(("threads: " + std::to_string(threads)).c_str());
}

void bind_convolution(nanobind::module_& m);
void bind_matrix(nanobind::module_& m);
void bind_recurrence(nanobind::module_& m);
void bind_training(nanobind::module_& m);
