// Training for Python: a direction forwards and backwards, and the products of its gradient.
// gradients/native_direction.py is the only user and says what they mean.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <initializer_list>

#include "bindings/bindings.h"
#include "paths.h"
#include "training/training.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

constexpr const char* kCells[] = {"rnn", "gru", "lstm", "clipped_rnn", "relu_rnn"};  // in the order of Cell

sparse::Cell cell_of(const std::string& name) {
    for (int i = 0; i < 5; ++i) {
        if (name == kCells[i]) return sparse::Cell(i);
    }
    throw nb::value_error(("no cell '" + name + "' can be trained").c_str());
}

// The data of an array of exactly this shape; null for none, which only an optional one may be.
template <class Array>
auto data_of(const Array& array, const char* name, bool needed, std::initializer_list<int64_t> shape) -> decltype(array.data()) {
    if (!needed) return nullptr;
    bool fits = array.is_valid() && array.ndim() == shape.size();
    size_t i = 0;
    for (int64_t size : shape) fits = fits && int64_t(array.shape(i++)) == size;
    if (fits) return array.data();
    std::string wanted;
    for (int64_t size : shape) wanted += (wanted.empty() ? "(" : ", ") + std::to_string(size);
    throw nb::value_error((std::string(name) + ": " + wanted + ") is needed, not " +
                           (array.is_valid() ? shape_of(array) : "None")).c_str());
}

sparse::TrainedDirection direction_of(const std::string& cell, bool backwards, const VectorArgument<int64_t>& lengths,
                                      const Input& weight, const Input& bias, const Result& gates, const Result& states,
                                      const Result& memory, const Result& products) {
    if (!states.is_valid() || states.ndim() != 3 || states.shape(0) < 1) throw nb::value_error("states: (T + 1, B, H) is needed");
    const int64_t times = int64_t(states.shape(0)) - 1, batch = states.shape(1), hidden = states.shape(2);
    const sparse::Cell kind = cell_of(cell);
    const int64_t rows = sparse::gates_of(kind) * hidden;
    const bool gru = kind == sparse::Cell::kGru, lstm = kind == sparse::Cell::kLstm;
    if (hidden < 1 || int64_t(lengths.size()) != batch) throw nb::value_error("states and lengths do not fit");
    for (int64_t b = 0; b < batch; ++b) {
        if (lengths.data()[b] < 0 || lengths.data()[b] > times) {
            throw nb::value_error(("a length of " + std::to_string(lengths.data()[b]) + " in " + std::to_string(times) +
                                   " frames").c_str());
        }
    }
    return {kind, backwards, times, batch, hidden, lengths.data(),
            data_of(weight, "weight", true, {rows, hidden}),
            data_of(bias, "bias", gru, {hidden}),
            data_of(gates, "gates", gates.is_valid(), {times, batch, rows}),
            states.data(),
            data_of(memory, "memory", lstm, {times + 1, batch, hidden}),
            data_of(products, "products", gru, {times, batch, hidden})};
}

void forward(const std::string& cell, bool backwards, VectorArgument<int64_t> lengths, Input weight, Input bias,
             Result gates, Result states, Result memory, Result products, int threads) {
    check_threads(threads);
    const auto direction = direction_of(cell, backwards, lengths, weight, bias, gates, states, memory, products);
    if (!direction.gates) throw nb::value_error("gates: the input products are needed");
    nb::gil_scoped_release released;
    sparse::train_forward(sparse::active(), direction, threads);
}

// How many entries of `gradient` are not zero, by gate.
std::vector<int64_t> backward(const std::string& cell, bool backwards, VectorArgument<int64_t> lengths, Input weight,
                              Input bias, Result gates, Result states, Result memory, Result products, Input upper,
                              Result future, Result memory_future, float threshold, int64_t kept, int64_t sample_every,
                              Result sample, Result gradient, Result input, int threads) {
    check_threads(threads);
    const auto d = direction_of(cell, backwards, lengths, weight, bias, gates, states, memory, products);
    const bool gru = d.cell == sparse::Cell::kGru, lstm = d.cell == sparse::Cell::kLstm;
    const int64_t rows = sparse::gates_of(d.cell) * d.hidden;
    if ((gru || lstm) && !d.gates) throw nb::value_error("gates: the values that the way forwards left are needed");
    if (!(threshold >= 0) || kept < 0 || kept > rows || sample_every < 0) throw nb::value_error("threshold or kept: out of range");
    sparse::GateGradients gradients{
        data_of(upper, "upper", true, {d.times, d.batch, d.hidden}),
        data_of(future, "future", true, {d.batch, d.hidden}),
        data_of(memory_future, "memory_future", lstm, {d.batch, d.hidden}),
        threshold,
        kept,
        sample_every,
        data_of(sample, "sample", sample_every > 0, {sample_every > 0 && d.times > 0 ? (d.times - 1) / sample_every + 1 : 0, d.batch, rows}),
        data_of(gradient, "gradient", true, {d.times, d.batch, rows}),
        data_of(input, "input", gru, {d.times, d.batch, rows}),
        {}};
    {
        nb::gil_scoped_release released;
        sparse::train_backward(sparse::active(), d, gradients, threads);
    }
    return {gradients.entries, gradients.entries + sparse::gates_of(d.cell)};
}

void check_products(const Input& x, const Input& other, const Result& y, int64_t inner, int64_t other_inner, int64_t rows) {
    const int64_t columns = other.ndim() == 2 ? int64_t(other.shape(1)) : 0;
    if (x.ndim() != 2 || other.ndim() != 2 || y.ndim() != 2 || inner != other_inner || int64_t(y.shape(0)) != rows ||
        int64_t(y.shape(1)) != (columns + 15) / 16 * 16) {
        throw nb::value_error(("x " + shape_of(x) + " and " + shape_of(other) + " into " + shape_of(y) + " do not fit").c_str());
    }
}

void product(Input x, Input weight, Result y, int threads) {
    check_threads(threads);
    if (x.ndim() != 2 || weight.ndim() != 2) throw nb::value_error("matrices are needed");
    check_products(x, weight, y, x.shape(1), weight.shape(0), x.shape(0));
    nb::gil_scoped_release released;
    sparse::skipping_product(sparse::active(), x.data(), x.shape(0), x.shape(1), weight.data(), weight.shape(1), y.data(),
                             y.shape(1), threads);
}

void outer(Input x, Input z, Result y, int threads) {
    check_threads(threads);
    if (x.ndim() != 2 || z.ndim() != 2) throw nb::value_error("matrices are needed");
    check_products(x, z, y, x.shape(0), z.shape(0), x.shape(1));
    nb::gil_scoped_release released;
    sparse::skipping_outer(sparse::active(), x.data(), x.shape(0), x.shape(1), z.data(), z.shape(1), y.data(), y.shape(1),
                           threads);
}

}  // namespace

void bind_training(nb::module_& m) {
    m.def("train_forward", &forward, "cell"_a, "backwards"_a, "lengths"_a.noconvert(), "weight"_a.noconvert(),
          "bias"_a.noconvert().none(), "gates"_a.noconvert().none(), "states"_a.noconvert(), "memory"_a.noconvert().none(),
          "products"_a.noconvert().none(), "threads"_a);
    m.def("train_backward", &backward, "cell"_a, "backwards"_a, "lengths"_a.noconvert(), "weight"_a.noconvert(),
          "bias"_a.noconvert().none(), "gates"_a.noconvert().none(), "states"_a.noconvert(), "memory"_a.noconvert().none(),
          "products"_a.noconvert().none(), "upper"_a.noconvert(), "future"_a.noconvert(),
          "memory_future"_a.noconvert().none(), "threshold"_a, "kept"_a, "sample_every"_a,
          "sample"_a.noconvert().none(), "gradient"_a.noconvert(), "input"_a.noconvert().none(), "threads"_a);
    m.def("skipping_product", &product, "x"_a.noconvert(), "weight"_a.noconvert(), "y"_a.noconvert(), "threads"_a);
    m.def("skipping_outer", &outer, "x"_a.noconvert(), "z"_a.noconvert(), "y"_a.noconvert(), "threads"_a);
}
