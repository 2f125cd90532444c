// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/wire/allocations.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

namespace {

std::size_t g_count = 0;
std::size_t g_largest = 0;

}  // namespace

namespace forkmill::wire::test {

std::size_t allocations() {
    return g_count;
}

std::size_t take_largest_allocation() {
    return std::exchange(g_largest, 0);
}

}  // namespace forkmill::wire::test

void* operator new(std::size_t size) {
    ++g_count;
    g_largest = std::max(g_largest, size);
    void* const block = std::malloc(std::max<std::size_t>(size, 1));
    if (block == nullptr) throw std::bad_alloc{};
    return block;
}

void* operator new[](std::size_t size) {
    return operator new(size);
}

void operator delete(void* block) noexcept {
    std::free(block);
}

void operator delete(void* block, std::size_t) noexcept {
    std::free(block);
}

void operator delete[](void* block) noexcept {
    std::free(block);
}

void operator delete[](void* block, std::size_t) noexcept {
    std::free(block);
}
