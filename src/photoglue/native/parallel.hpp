// Work shared by threads that live as long as it does: a few tens of microseconds each, and nobody waits in circles.
#pragma once

namespace photoglue {

// Calls work(context, first, last) for equal parts of 0 ... count, each in a thread of its own, and waits for all.
void parallel(int threads, int count, void (*work)(void*, int, int), void* context);

}  // namespace photoglue
