// A convolution: checked and packed once, then applied piece by piece.
#include "convolution.h"

#include <algorithm>
#include <cstdlib>

#include "threads.h"

namespace sparse {
namespace {

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

}  // namespace

Convolution::Convolution(const ConvolutionSource& s) {
    const int64_t stride = std::min(s.stride_frames, s.frames);
    taps_ = {};
    taps_.channels_in = int(s.channels_in);
    taps_.channels_out = int(s.channels_out);
    taps_.bins = int(s.bins);
    taps_.frames = int(s.frames);
    taps_.stride_bins = int(s.stride_bins);
    taps_.stride_frames = int(s.stride_frames);
    taps_.phases = int(stride);
    taps_.steps = int(kFramesPerLane + (s.frames - 1) / s.stride_frames);
    const char* g = getenv("GROUP");
    taps_.group = g ? atoi(g) : 1;
    taps_.groups = (taps_.channels_in + taps_.group - 1) / taps_.group;
    pack(s);
}

void Convolution::pack(const ConvolutionSource& s) {
    shift_.assign(s.shift, s.shift + s.channels_out);
    for (int64_t group = 0; group < taps_.groups; ++group) {
        const int64_t first = group * taps_.group, last = std::min<int64_t>(first + taps_.group, s.channels_in);
        for (int64_t out = 0; out < s.channels_out; ++out) {
            for (int64_t bin = 0; bin < s.bins; ++bin) {
                start_.push_back(uint32_t(tap_.size()));
                for (int64_t in = first; in < last; ++in) {
                    const float* weight = s.weight + ((out * s.channels_in + in) * s.bins + bin) * s.frames;
                    for (int64_t frame = 0; frame < s.frames; ++frame) {
                        if (weight[frame] == 0) continue;
                        const int64_t phase = frame % s.stride_frames, step = frame / s.stride_frames;
                        const int64_t row = (bin * taps_.group + in - first) * taps_.phases + phase;
                        tap_.push_back({uint32_t(row * taps_.steps + step), weight[frame]});
                    }
                }
            }
        }
    }
    start_.push_back(uint32_t(tap_.size()));
    taps_.start = start_.data();
    taps_.tap = tap_.data();
    taps_.shift = shift_.data();
}

void Convolution::run(const Kernels& kernels, const float* x, int64_t bins, int64_t frames, float* y, int threads) const {
    const Utterance u{x, y, bins, frames, bins_out(bins), frames_out(frames)};
    if (u.bins_out == 0 || u.frames_out == 0) return;
    const char* b = getenv("BINS");
    const int64_t most = b ? atoi(b) : 16;
    const int64_t tiles = (u.frames_out + kernels.tile_frames - 1) / kernels.tile_frames;
    const int64_t across = (u.bins_out + most - 1) / most;
    const int64_t pieces = tiles * across;
    const int parts = int(std::min<int64_t>(threads, pieces));
    const int64_t window = std::min<int64_t>((most - 1) * taps_.stride_bins + taps_.bins, bins);
    const int64_t size = (kernels.convolve_scratch(taps_, window) + 15) / 16 * 16;
    Array<float> scratch(size * parts);
    in_parallel(parts, [&](int part) {
        for (int64_t piece = pieces * part / parts; piece < pieces * (part + 1) / parts; ++piece) {
            const int64_t tile = piece / across, block = piece % across;
            kernels.convolve(taps_, u, {tile * kernels.tile_frames, block * most, std::min((block + 1) * most, u.bins_out)},
                             scratch.data() + size * part);
        }
    });
}

int64_t Convolution::bytes() const {
    return int64_t(start_.size() * sizeof(uint32_t) + tap_.size() * sizeof(Tap) + shift_.size() * sizeof(float));
}

}  // namespace sparse
