#include "threads.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace sparse {
namespace {

// How long a worker looks out for more work before it sleeps: products often follow each other within microseconds, and
// waking a sleeper takes tens of them.
constexpr auto kLookOut = std::chrono::microseconds(50);

class Team {
public:
    void run(int parts, const std::function<void(int)>& work) {
        std::lock_guard<std::mutex> turn(turn_);
        while (int(workers_.size()) < parts - 1) {
            const int part = int(workers_.size()) + 1;
            const uint64_t seen = round_.load();
            workers_.emplace_back([this, part, seen] { serve(part, seen); });
            workers_.back().detach();
        }
        work_ = &work;
        left_.store(parts - 1);
        {
            std::lock_guard<std::mutex> lock(gate_);
            // The number of parts travels with the number of the round: a worker that oversleeps rounds without a
            // part for it can never pair one round's number with another's parts.
            round_.store(((round_.load() >> 16) + 1) << 16 | uint64_t(parts));
        }
        wake_.notify_all();
        work(0);
        while (left_.load() > 0) breathe();
    }

private:
    void serve(int part, uint64_t seen) {
        for (;;) {
            const auto until = std::chrono::steady_clock::now() + kLookOut;
            while (round_.load() == seen && std::chrono::steady_clock::now() < until) breathe();
            if (round_.load() == seen) {
                std::unique_lock<std::mutex> lock(gate_);
                wake_.wait(lock, [&] { return round_.load() != seen; });
            }
            seen = round_.load();
            if (part < int(seen & 0xffff)) {
                (*work_)(part);
                left_.fetch_sub(1);
            }
        }
    }

    std::mutex turn_, gate_;
    std::condition_variable wake_;
    std::atomic<uint64_t> round_{0};
    std::atomic<int> left_{0};
    const std::function<void(int)>* work_ = nullptr;
    std::vector<std::thread> workers_;
};

// Never destroyed: its workers may still wait when the process ends. A forked child has no workers and perhaps locked
// locks: it gets a team of its own.
Team* team = nullptr;

void new_team() { team = new Team; }

Team& the_team() {
    static const bool once = [] {
        new_team();
#if defined(__unix__) || defined(__APPLE__)
        pthread_atfork(nullptr, nullptr, new_team);
#endif
        return true;
    }();
    (void)once;
    return *team;
}

}  // namespace

void breathe() {
#if defined(__x86_64__)
    for (int i = 0; i < 32; ++i) __builtin_ia32_pause();
#endif
    std::this_thread::yield();
}

void in_parallel(int parts, const std::function<void(int)>& work) {
    if (parts <= 1) {
        work(0);
    } else {
        the_team().run(parts, work);
    }
}

}  // namespace sparse
