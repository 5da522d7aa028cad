// A convolution: checked and packed once, then applied piece by piece. What the kernel relies on is checked here.
#include "layers/convolution.h"

#include <algorithm>

#include "threads.h"

namespace sparse {
namespace {

constexpr int64_t kMostChannels = 65536, kMostWide = 4095;
constexpr int64_t kMostIndex = UINT32_MAX;

std::string text(int64_t number) { return std::to_string(number); }

void check(const ConvolutionSource& s) {
    const std::string kernel =
        text(s.channels_out) + "x" + text(s.channels_in) + "x" + text(s.bins) + "x" + text(s.frames);
    const auto refuse = [&](const std::string& why) {
        throw std::invalid_argument("a convolution of " + kernel + " (channels out and in, bins, frames): " + why);
    };
    if (std::min(s.channels_out, s.channels_in) < 1 || std::max(s.channels_out, s.channels_in) > kMostChannels) {
        refuse("1 to " + text(kMostChannels) + " channels are possible");
    }
    if (s.bins < 1 || s.frames < 1 || std::max(s.bins, s.frames) > kMostWide || s.bins % 2 == 0 || s.frames % 2 == 0) {
        refuse("bins and frames are odd, 1 to " + text(kMostWide));
    }
    if (std::min(s.stride_bins, s.stride_frames) < 1 || std::max(s.stride_bins, s.stride_frames) > kMostWide) {
        refuse("strides of " + text(s.stride_bins) + " bins and " + text(s.stride_frames) + " frames: 1 to " +
               text(kMostWide) + " are possible");
    }
    const int64_t phases = std::min(s.stride_frames, s.frames);
    const int64_t vectors = s.channels_in * s.bins * phases * (kFramesPerLane + s.frames + 3);
    if (s.channels_out * s.channels_in * s.bins * s.frames > kMostIndex || vectors > kMostIndex) {
        refuse("too large for 32-bit indices");
    }
}

// Input channels at a time: enough for some 24 taps of each output channel, or else its sums are read and written too
// often; not many more, or else their window leaves the first-level cache. 16 and 40 were as good.
int64_t grouped(const ConvolutionSource& s) {
    constexpr int64_t kTaps = 24;
    const int64_t size = s.channels_out * s.channels_in * s.bins * s.frames;
    const int64_t stored = size - std::count(s.weight, s.weight + size, 0.f);
    const int64_t pairs = s.channels_out * s.channels_in;
    return stored == 0 ? s.channels_in : std::min(s.channels_in, (kTaps * pairs + stored - 1) / stored);
}

// Memory that nobody has written to yet, from the first of a cache line on.
class Scratch {
public:
    explicit Scratch(size_t floats) : data_(Aligned<float>().allocate(floats)), floats_(floats) {}
    ~Scratch() { Aligned<float>().deallocate(data_, floats_); }
    Scratch(const Scratch&) = delete;
    float* data() const { return data_; }

private:
    float* data_;
    size_t floats_;
};

}  // namespace

Convolution::Convolution(const ConvolutionSource& s) : taps_() {
    check(s);
    taps_.channels_in = int(s.channels_in);
    taps_.channels_out = int(s.channels_out);
    taps_.bins = int(s.bins);
    taps_.frames = int(s.frames);
    taps_.stride_bins = int(s.stride_bins);
    taps_.stride_frames = int(s.stride_frames);
    taps_.group = int(grouped(s));
    taps_.groups = (taps_.channels_in + taps_.group - 1) / taps_.group;
    taps_.phases = std::min(taps_.stride_frames, taps_.frames);
    taps_.reach = ((taps_.frames - 1) / taps_.stride_frames + 3) / 4 * 4;
    taps_.steps = kFramesPerLane + taps_.reach;
    pack(s);
    shift_.assign(s.shift, s.shift + s.channels_out);
    taps_.start = start_.data();
    taps_.tap = tap_.data();
    taps_.shift = shift_.data();
}

void Convolution::pack(const ConvolutionSource& s) {
    start_.reserve(taps_.groups * s.channels_out * s.bins + 1);
    for (int64_t first = 0; first < s.channels_in; first += taps_.group) {
        const int64_t last = std::min(first + taps_.group, s.channels_in);
        for (int64_t out = 0; out < s.channels_out; ++out) {
            for (int64_t bin = 0; bin < s.bins; ++bin) {
                start_.push_back(uint32_t(tap_.size()));
                for (int64_t in = first; in < last; ++in) {
                    const float* weight = s.weight + ((out * s.channels_in + in) * s.bins + bin) * s.frames;
                    const int64_t row = (bin * taps_.group + in - first) * taps_.phases * taps_.steps;
                    for (int64_t frame = 0; frame < s.frames; ++frame) {
                        if (weight[frame] == 0) continue;
                        const int64_t phase = frame % s.stride_frames, step = frame / s.stride_frames;
                        tap_.push_back({uint32_t(row + phase * taps_.steps + step), weight[frame]});
                    }
                }
            }
        }
    }
    start_.push_back(uint32_t(tap_.size()));
    tap_.shrink_to_fit();
}

void Convolution::run(const Kernels& kernels, const float* x, int64_t bins, int64_t frames, float* y,
                      int threads) const {
    const Utterance u{x, y, bins, frames, bins_out(bins), frames_out(frames)};
    if (u.bins_out == 0 || u.frames_out == 0) return;
    // Borders of pieces change no output's order of additions. Windows are laid out anew where pieces meet.
    constexpr int64_t kMostBins = 24;  // 2.5 MB of scratch for the second convolution of Deep Speech 2 with AVX-512
    const int64_t tiles = (u.frames_out + kernels.tile_frames - 1) / kernels.tile_frames;
    const int64_t wanted = std::max((u.bins_out + kMostBins - 1) / kMostBins, (threads + tiles - 1) / tiles);
    const int64_t height = (u.bins_out + wanted - 1) / wanted, across = (u.bins_out + height - 1) / height;
    const int64_t pieces = tiles * across;
    const int parts = int(std::min<int64_t>(threads, pieces));
    const int64_t window = std::min((height - 1) * taps_.stride_bins + taps_.bins, bins);
    const int64_t size = (kernels.convolve_scratch(taps_, window) + 15) / 16 * 16;
    const Scratch scratch(size * parts);
    in_parallel(parts, [&](int part) {
        for (int64_t i = pieces * part / parts; i < pieces * (part + 1) / parts; ++i) {
            const int64_t bin = i % across * height;
            const Piece piece{i / across * kernels.tile_frames, bin, std::min(bin + height, u.bins_out)};
            kernels.convolve(taps_, u, piece, scratch.data() + size * part);
        }
    });
}

int64_t Convolution::bytes() const {
    return int64_t(start_.size() * sizeof(uint32_t) + tap_.size() * sizeof(Tap) + shift_.size() * sizeof(float));
}

}  // namespace sparse
