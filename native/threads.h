// Threads that outlive a product, so that the next one need not start them.
#pragma once

#include <functional>

namespace sparse {

// work(0) ... work(parts - 1), each on a thread of its own, work(0) on the caller's; returns when all are done. One part
// runs without touching any of this. Callers take turns. `work` must not throw.
void in_parallel(int parts, const std::function<void(int)>& work);

// A moment of waiting. On a busy machine the one that is waited for may need this very core: it is offered.
void breathe();

}  // namespace sparse
