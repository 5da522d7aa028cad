// Threads that outlive a product, so that the next one need not start them.
#pragma once

#include <atomic>
#include <functional>

namespace sparse {

// work(0) ... work(parts - 1), each on a thread of its own, work(0) on the caller's; returns when all are done. One part
// runs without touching any of this. Callers take turns. `work` must not throw.
void in_parallel(int parts, const std::function<void(int)>& work);

// A moment of waiting. On a busy machine the one that is waited for may need this very core: it is offered.
void breathe();

// All of a team wait for each other.
class Barrier {
public:
    explicit Barrier(int size) : size_(size) {}
    void wait() {
        if (size_ == 1) return;
        const int round = round_.load();
        if (arrived_.fetch_add(1) == size_ - 1) {
            arrived_.store(0);
            round_.store(round + 1);
        } else {
            while (round_.load() == round) breathe();
        }
    }

private:
    const int size_;
    std::atomic<int> arrived_{0}, round_{0};
};

}  // namespace sparse
