// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/lock_memory.h"

#include <sys/mman.h>

#include <memory>
#include <mutex>

#include "core/supervisor/forked_context.h"

namespace forkmill {
inline namespace v0 {
namespace local {

namespace {

/// Never unmapped: handles, and threads of pools that end, may look at them to the last.
struct Mapped {
    std::mutex mutex;
    base::LockWord* memory = nullptr;
    std::unique_ptr<base::LockWords> words;
};

Mapped& mapped() {
    static constinit supervisor::PerProcess<Mapped> state;
    return state.get();
}

/// Of whoever mapped last: this process, else the one it was forked from.
constinit std::atomic<base::LockWord*> newest{nullptr};

std::span<base::LockWord> all_of(base::LockWord* memory) {
    return memory == nullptr ? std::span<base::LockWord>{} : std::span{memory, kLockWords};
}

}  // namespace

void map_lock_words() {
    Mapped& own = mapped();
    const std::lock_guard lock{own.mutex};
    if (own.words) return;
    void* memory = ::mmap(nullptr,
                          kLockWords * sizeof(base::LockWord),
                          PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS,
                          -1,
                          0);
    if (memory == MAP_FAILED) return;
    own.memory = static_cast<base::LockWord*>(memory);
    own.words = std::make_unique<base::LockWords>(all_of(own.memory));
    newest.store(own.memory, std::memory_order_release);
}

base::LockWords* lock_words() {
    Mapped& own = mapped();
    const std::lock_guard lock{own.mutex};
    return own.words.get();
}

std::span<base::LockWord> all_lock_words() {
    Mapped& own = mapped();
    const std::lock_guard lock{own.mutex};
    return all_of(own.memory);
}

std::span<base::LockWord> inherited_lock_words() {
    return all_of(newest.load(std::memory_order_acquire));
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
