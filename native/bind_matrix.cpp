// Matrix in Python. engine/products.py is its only user.
#include "bindings.h"
#include "matrix.h"
#include "paths.h"

namespace nb = nanobind;
using namespace nb::literals;
using sparse::Matrix;

namespace {

void construct(Matrix* self, int64_t rows, int64_t columns, int block_rows, int block_columns,
               VectorArgument<int64_t> starts, VectorArgument<int64_t> indices, VectorArgument<float> values) {
    nb::gil_scoped_release released;
    new (self) Matrix({rows, columns, block_rows, block_columns, starts.data(), starts.size(), indices.data(),
                       indices.size(), values.data(), values.size()});
}

void multiply(const Matrix& self, Input x, Result y, int threads) {
    const bool matrices = x.ndim() == 2 && y.ndim() == 2 && x.shape(1) == y.shape(1);
    const bool vectors = x.ndim() == 1 && y.ndim() == 1;
    if (!(matrices || vectors) || int64_t(x.shape(0)) != self.columns() || int64_t(y.shape(0)) != self.rows()) {
        throw nb::value_error(("a matrix of (" + std::to_string(self.rows()) + ", " + std::to_string(self.columns()) +
                               ") times x " + shape_of(x) + " into y " + shape_of(y)).c_str());
    }
    if (threads < 1 || threads > 1024) throw nb::value_error(("threads: " + std::to_string(threads)).c_str());
    nb::gil_scoped_release released;
    self.multiply(sparse::active(), x.data(), vectors ? 1 : int64_t(x.shape(1)), y.data(), threads);
}

}  // namespace

void bind_matrix(nb::module_& m) {
    nb::class_<Matrix>(m, "Matrix")
        .def("__init__", &construct, "rows"_a, "columns"_a, "block_rows"_a, "block_columns"_a, "starts"_a.noconvert(),
             "indices"_a.noconvert(), "values"_a.noconvert())
        .def("multiply", &multiply, "x"_a.noconvert(), "y"_a.noconvert(), "threads"_a)
        .def_prop_ro("stored", &Matrix::stored)
        .def_prop_ro("bytes", &Matrix::bytes);
}
