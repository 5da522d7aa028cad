// How a pruned 2-D convolution lies in memory: what convolution.cpp builds and convolve.h reads. No ownership, and no
// functions: one compiled for AVX-512 could be the copy that the linker keeps for all.
#pragma once

#include <cstdint>

namespace sparse {

constexpr int kFramesPerLane = 8;  // at most; convolve.h says what a lane is here

// A weight that is not zero.
struct Tap {
    uint32_t at;  // where its input begins within a window: vectors from the window's first
    float value;
};

// Input channels are taken `group` at a time, so that their window stays in the first-level cache while all output
// channels read it. The taps of a group and an output channel are sorted by kernel bin: those of the bins that lie
// within the input are a range.
struct Taps {
    int channels_in, channels_out;
    int bins, frames;  // of the kernel, both odd
    int stride_bins, stride_frames;
    int group, groups;
    int phases;             // how many remainders to the time stride the kernel's frames have
    int reach;              // vectors of one phase beyond those of the kernel's first frame, a multiple of four
    int steps;              // kFramesPerLane + reach: vectors of one phase of one input bin of one channel
    const uint32_t* start;  // (groups, channels_out, bins) and the end: first tap of each
    const Tap* tap;
    const float* shift;     // (channels_out)
};

// What it is applied to: one utterance.
struct Utterance {
    const float* x;  // (channels_in, bins, frames)
    float* y;        // (channels_out, bins_out, frames_out)
    int64_t bins, frames, bins_out, frames_out;
};

// What is computed at once: output bins [bin, bin_end) of one tile of output frames, from `frame` on.
struct Piece {
    int64_t frame, bin, bin_end;
};

}  // namespace sparse
