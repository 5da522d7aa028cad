// Recurrence for Python. engine/recurrent.py is its only user and says what it means.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/bindings.h"
#include "paths.h"
#include "layers/recurrence.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

sparse::Array<float> copied(const VectorArgument<float>& vector) {
    return {vector.data(), vector.data() + vector.size()};
}

// A recurrence and the Python objects whose matrices it reads.
struct Layer {
    sparse::Recurrence recurrence;
    std::vector<nb::object> matrices;
};

sparse::Cell cell_of(const std::string& name) {
    const char* const names[] = {"rnn", "gru", "lstm", "clipped_rnn"};  // in the order of Cell
    for (int i = 0; i < 4; ++i) {
        if (name == names[i]) return sparse::Cell(i);
    }
    throw nb::value_error(("no cell '" + name + "': rnn, gru, lstm and clipped_rnn are known").c_str());
}

// Each part is a direction: input matrix, recurrent matrix, scale, shift, bias.
void construct(Layer* self, const std::string& cell, bool sum, nb::list parts) {
    std::vector<sparse::Direction> directions;
    std::vector<nb::object> matrices;
    for (nb::handle part : parts) {
        if (!nb::isinstance<nb::tuple>(part) || nb::len(part) != 5) {
            throw nb::type_error("a direction is a tuple of two matrices, scale, shift and bias");
        }
        const auto matrix = [&](int i) {
            matrices.push_back(nb::borrow(part[i]));
            const sparse::Matrix* here = nullptr;
            if (!nb::try_cast(matrices.back(), here) || !here) {
                throw nb::type_error("a direction begins with two matrices");
            }
            return here;
        };
        const auto vector = [&](int i) {
            VectorArgument<float> here;
            if (!nb::try_cast(part[i], here, false) || !here.is_valid()) {
                throw nb::type_error("scale, shift and bias are vectors of float32");
            }
            return copied(here);
        };
        directions.push_back({matrix(0), matrix(1), vector(2), vector(3), vector(4)});
    }
    new (self) Layer{sparse::Recurrence(cell_of(cell), sum, std::move(directions)), std::move(matrices)};
}

// None for a state begins with zeros; another one is that of one utterance in one direction, and goes on.
void run(const Layer& self, Input x, VectorArgument<int64_t> counts, Result y, int threads, Result state) {
    const sparse::Recurrence& recurrence = self.recurrence;
    if (x.ndim() != 2 || y.ndim() != 2 || int64_t(x.shape(1)) != recurrence.features() ||
        int64_t(y.shape(1)) != recurrence.outputs() || x.shape(0) != y.shape(0)) {
        throw nb::value_error(("x " + shape_of(x) + " into y " + shape_of(y) + ": (frames, " +
                               std::to_string(recurrence.features()) + ") and (frames, " +
                               std::to_string(recurrence.outputs()) + ") fit").c_str());
    }
    check_threads(threads);
    // A copy: another Python thread could change them between the check and the end.
    const std::vector<int64_t> checked(counts.data(), counts.data() + counts.size());
    sparse::check_counts(checked.data(), int64_t(checked.size()), int64_t(x.shape(0)));
    const bool goes_on = state.is_valid();
    if (goes_on && (recurrence.directions() != 1 || (!checked.empty() && checked[0] != 1) || state.ndim() != 1 ||
                    int64_t(state.shape(0)) != recurrence.states())) {
        throw nb::value_error(("a state " + shape_of(state) + ": one utterance in one direction, with " +
                               std::to_string(recurrence.states()) + " numbers, can go on").c_str());
    }
    nb::gil_scoped_release released;
    recurrence.run(sparse::active(), x.data(), checked.data(), int64_t(checked.size()), y.data(), threads,
                   goes_on ? state.data() : nullptr);
}

}  // namespace

void bind_recurrence(nb::module_& m) {
    nb::class_<Layer>(m, "Recurrence")
        .def("__init__", &construct, "cell"_a, "sum"_a, "directions"_a)
        .def("run", &run, "x"_a.noconvert(), "counts"_a.noconvert(), "y"_a.noconvert(), "threads"_a,
             "state"_a.noconvert().none() = nb::none());
}
