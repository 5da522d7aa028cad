// The extension `deepspeech_sparse._kernels`: which kernels run, and the classes of the other files.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/bindings.h"
#include "paths.h"

namespace nb = nanobind;
using namespace nb::literals;

NB_MODULE(_kernels, m) {
    m.def("paths", [] {
        std::vector<std::string> names;
        for (const sparse::Kernels* kernels : sparse::paths()) names.push_back(kernels->name);
        return names;
    });
    m.def("path", [] { return std::string(sparse::active().name); });
    m.def("select", &sparse::select, "name"_a);
    bind_convolution(m);
    bind_matrix(m);
    bind_recurrence(m);
    bind_training(m);
}
