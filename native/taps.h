// How a pruned 2-D convolution lies in memory: what convolution.cpp builds and convolve.h reads. No ownership.
#pragma once

#include <cstdint>

namespace sparse {

constexpr int kFramesPerLane = 8;  // consecutive output frames that one lane of a vector is responsible for

// A weight that is not zero.
struct Tap {
    uint32_t at;  // where its input begins within a window of a group: vectors from the window's first
    float value;
};

// Input channels are taken `group` at a time, so that the window of a group stays in the first-level cache while all
// output channels read it. The taps of a group and an output channel are sorted by kernel bin.
struct Taps {
    int channels_in, channels_out;
    int bins, frames;                // of the kernel, both odd
    int stride_bins, stride_frames;
    int group, groups;
    int phases;            // input frames are taken apart by their remainder to the stride: remainders that are used
    int steps;             // vectors of one phase of one input bin
    const uint32_t* start;  // (groups, channels_out, bins), and the end: first tap of each
    const Tap* tap;
    const float* shift;  // (channels_out)
};

// Where it is applied: one utterance.
struct Utterance {
    const float* x;  // (channels_in, bins, frames)
    float* y;        // (channels_out, bins_out, frames_out)
    int64_t bins, frames, bins_out, frames_out;
};

// What is computed at once: output bins [bin, bin_end) of the frames of one tile, from `frame` on.
struct Piece {
    int64_t frame, bin, bin_end;
};

}  // namespace sparse
