// The border to Python, `deepspeech_sparse.engine._kernels`. engine/sparse.py is its only user and says what it means.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "matrix.h"
#include "paths.h"

namespace nb = nanobind;
using namespace nb::literals;
using sparse::Matrix;

namespace {

template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Input = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Result = nb::ndarray<float, nb::c_contig, nb::device::cpu>;

void construct(Matrix* self, int64_t rows, int64_t columns, int block_rows, int block_columns, Vector<int64_t> starts,
               Vector<int64_t> indices, Vector<float> values) {
    nb::gil_scoped_release released;
    new (self) Matrix({rows, columns, block_rows, block_columns, starts.data(), starts.size(), indices.data(),
                       indices.size(), values.data(), values.size()});
}

void multiply(const Matrix& self, Input x, Result y, int threads) {
    const auto shape = [](const auto& array) {
        std::string text = "(";
        for (size_t i = 0; i < array.ndim(); ++i) text += (i ? ", " : "") + std::to_string(array.shape(i));
        return text + ")";
    };
    const bool matrices = x.ndim() == 2 && y.ndim() == 2 && x.shape(1) == y.shape(1);
    const bool vectors = x.ndim() == 1 && y.ndim() == 1;
    if (!(matrices || vectors) || int64_t(x.shape(0)) != self.columns() || int64_t(y.shape(0)) != self.rows()) {
        throw nb::value_error(("a matrix of (" + std::to_string(self.rows()) + ", " + std::to_string(self.columns()) +
                               ") times x " + shape(x) + " into y " + shape(y)).c_str());
    }
    if (threads < 1 || threads > 1024) throw nb::value_error(("threads: " + std::to_string(threads)).c_str());
    nb::gil_scoped_release released;
    self.multiply(sparse::active(), x.data(), vectors ? 1 : int64_t(x.shape(1)), y.data(), threads);
}

}  // namespace

void bind_convolution(nb::module_& m);  // bind_convolution.cpp

NB_MODULE(_kernels, m) {
    nb::class_<Matrix>(m, "Matrix")
        .def("__init__", &construct, "rows"_a, "columns"_a, "block_rows"_a, "block_columns"_a, "starts"_a.noconvert(),
             "indices"_a.noconvert(), "values"_a.noconvert())
        .def("multiply", &multiply, "x"_a.noconvert(), "y"_a.noconvert(), "threads"_a)
        .def_prop_ro("stored", &Matrix::stored)
        .def_prop_ro("bytes", &Matrix::bytes);
    bind_convolution(m);
    m.def("paths", [] {
        std::vector<std::string> names;
        for (const sparse::Kernels* kernels : sparse::paths()) names.push_back(kernels->name);
        return names;
    });
    m.def("path", [] { return std::string(sparse::active().name); });
    m.def("select", &sparse::select, "name"_a);
}
