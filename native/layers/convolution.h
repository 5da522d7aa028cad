// A pruned 2-D convolution that owns its memory, packed for the kernels.
#pragma once

#include "layouts/kernels.h"
#include "layers/matrix.h"

namespace sparse {

// The kernel as a dense array, and what is added to each output channel.
struct ConvolutionSource {
    int64_t channels_out, channels_in, bins, frames;
    int64_t stride_bins, stride_frames;
    const float* weight;  // (channels_out, channels_in, bins, frames)
    const float* shift;   // (channels_out)
};

class Convolution {
public:
    // Packs the weights that are not zero; throws std::invalid_argument with the numbers if that cannot be.
    explicit Convolution(const ConvolutionSource& source);
    Convolution(const Convolution&) = delete;

    // y = min(max(x * weight + shift, 0), 20) on `threads` threads, x padded by half a kernel of zeros on every side:
    // x (channels_in, bins, frames), y (channels_out, bins_out, frames_out), both without gaps.
    void run(const Kernels& kernels, const float* x, int64_t bins, int64_t frames, float* y, int threads) const;

    int64_t bins_out(int64_t bins) const { return (bins + taps_.stride_bins - 1) / taps_.stride_bins; }
    int64_t frames_out(int64_t frames) const { return (frames + taps_.stride_frames - 1) / taps_.stride_frames; }
    int64_t channels_in() const { return taps_.channels_in; }
    int64_t channels_out() const { return taps_.channels_out; }
    int64_t stored() const { return int64_t(tap_.size()); }
    int64_t bytes() const;

private:
    void pack(const ConvolutionSource& source);

    Taps taps_;  // points into these:
    Array<uint32_t> start_;
    Array<Tap> tap_;
    Array<float> shift_;
};

}  // namespace sparse
