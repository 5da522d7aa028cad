// Matrix in Python. engine/products.py is its only user.
#include "bindings/bindings.h"
#include "layers/matrix.h"
#include "paths.h"

namespace nb = nanobind;
using namespace nb::literals;
using sparse::Half;
using sparse::Matrix;

namespace {

// `Values` in NumPy holds `Stored` of matrices.h: float16 comes as the bits of uint16.
template <class Values, class Stored>
void construct_blocks(Matrix* self, int64_t rows, int64_t columns, int block_rows, int block_columns,
                      VectorArgument<int64_t> starts, VectorArgument<int64_t> indices, VectorArgument<Values> values,
                      VectorArgument<float> scales) {
    static_assert(sizeof(Values) == sizeof(Stored), "");
    // Places are copied before they are checked: while others hold the GIL, they may write into their arrays.
    const std::vector<int64_t> from(starts.data(), starts.data() + starts.size());
    const std::vector<int64_t> at(indices.data(), indices.data() + indices.size());
    nb::gil_scoped_release released;
    new (self) Matrix({rows, columns, false, block_rows, block_columns, from.data(), from.size(), at.data(), at.size(),
                        reinterpret_cast<const Stored*>(values.data()), values.size(), scales.data(),
                       scales.size()});
}

template <class Values, class Stored>
void construct_dense(Matrix* self, int64_t rows, int64_t columns, VectorArgument<Values> values,
                     VectorArgument<float> scales) {
    nb::gil_scoped_release released;
    new (self) Matrix({rows, columns, true, 0, 0, nullptr, 0, nullptr, 0,
                       reinterpret_cast<const Stored*>(values.data()), values.size(), scales.data(), scales.size()});
}

template <class Values, class Stored>
void bind_constructors(nb::class_<Matrix>& matrix) {
    matrix.def("__init__", &construct_blocks<Values, Stored>, "rows"_a, "columns"_a, "block_rows"_a, "block_columns"_a,
               "starts"_a.noconvert(), "indices"_a.noconvert(), "values"_a.noconvert(), "scales"_a.noconvert());
    matrix.def("__init__", &construct_dense<Values, Stored>, "rows"_a, "columns"_a, "values"_a.noconvert(),
               "scales"_a.noconvert());
}

void refuse(const Matrix& self, const char* form, const Input& x, const Result& y) {
    throw nb::value_error(("a matrix of (" + std::to_string(self.rows()) + ", " + std::to_string(self.columns()) + ")" +
                           form + shape_of(x) + " into y " + shape_of(y)).c_str());
}

void multiply(const Matrix& self, Input x, Result y, int threads) {
    const bool matrices = x.ndim() == 2 && y.ndim() == 2 && x.shape(1) == y.shape(1);
    const bool vectors = x.ndim() == 1 && y.ndim() == 1;
    if (!(matrices || vectors) || int64_t(x.shape(0)) != self.columns() || int64_t(y.shape(0)) != self.rows()) {
        refuse(self, " times x ", x, y);
    }
    check_threads(threads);
    nb::gil_scoped_release released;
    self.multiply(sparse::active(), x.data(), vectors ? 1 : int64_t(x.shape(1)), y.data(), threads);
}

void linear(const Matrix& self, Input x, Result y, int threads) {
    if (x.ndim() != 2 || y.ndim() != 2 || x.shape(0) != y.shape(0) || int64_t(x.shape(1)) != self.columns() ||
        int64_t(y.shape(1)) != self.rows()) {
        refuse(self, ", transposed, from x ", x, y);
    }
    check_threads(threads);
    nb::gil_scoped_release released;
    self.linear(sparse::active(), x.data(), int64_t(x.shape(0)), y.data(), threads);
}

}  // namespace

void bind_matrix(nb::module_& m) {
    nb::class_<Matrix> matrix(m, "Matrix");
    bind_constructors<float, float>(matrix);
    bind_constructors<uint16_t, Half>(matrix);
    bind_constructors<int8_t, int8_t>(matrix);
    matrix.def("multiply", &multiply, "x"_a.noconvert(), "y"_a.noconvert(), "threads"_a)
        .def("linear", &linear, "x"_a.noconvert(), "y"_a.noconvert(), "threads"_a)
        .def_prop_ro("stored", &Matrix::stored)
        .def_prop_ro("bytes", &Matrix::bytes);
}
