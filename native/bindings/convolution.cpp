// Convolutions at the border to Python. engine/convolution.py is its only user and says what it means.
#include "bindings/bindings.h"
#include "layers/convolution.h"
#include "paths.h"

namespace nb = nanobind;
using namespace nb::literals;
using sparse::Convolution;

namespace {

using Weight = nb::ndarray<const float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Maps = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using ResultMaps = nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

void construct(Convolution* self, Weight weight, int64_t stride_bins, int64_t stride_frames,
               VectorArgument<float> shift) {
    if (shift.shape(0) != weight.shape(0)) {
        throw nb::value_error((std::to_string(shift.shape(0)) + " shifts for " + std::to_string(weight.shape(0)) +
                               " channels").c_str());
    }
    const auto size = [&](int axis) { return int64_t(weight.shape(axis)); };
    nb::gil_scoped_release released;
    new (self) Convolution(
        {size(0), size(1), size(2), size(3), stride_bins, stride_frames, weight.data(), shift.data()});
}

void run(const Convolution& self, Maps x, ResultMaps y, int threads) {
    const int64_t bins = int64_t(x.shape(1)), frames = int64_t(x.shape(2));
    if (int64_t(x.shape(0)) != self.channels_in() || int64_t(y.shape(0)) != self.channels_out() ||
        int64_t(y.shape(1)) != self.bins_out(bins) || int64_t(y.shape(2)) != self.frames_out(frames)) {
        throw nb::value_error(("a convolution of " + std::to_string(self.channels_in()) + " to " +
                               std::to_string(self.channels_out()) + " channels of x " + shape_of(x) + " into y " +
                               shape_of(y)).c_str());
    }
    check_threads(threads);
    nb::gil_scoped_release released;
    self.run(sparse::active(), x.data(), bins, frames, y.data(), threads);
}

}  // namespace

void bind_convolution(nb::module_& m) {
    nb::class_<Convolution>(m, "Convolution")
        .def("__init__", &construct, "weight"_a.noconvert(), "stride_bins"_a, "stride_frames"_a, "shift"_a.noconvert())
        .def("run", &run, "x"_a.noconvert(), "y"_a.noconvert(), "threads"_a)
        .def_prop_ro("stored", &Convolution::stored)
        .def_prop_ro("bytes", &Convolution::bytes);
}
