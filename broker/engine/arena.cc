// SPDX-License-Identifier: Apache-2.0
#include "broker/engine/arena.h"

#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/base/check.h"

namespace forkmill::engine {

struct Arena::Page {
    Page* next = nullptr;
    Page* prev = nullptr;
    std::uint32_t free_head = 0;  ///< Offset of the first given-back block; 0: none.
    std::uint32_t fresh = 0;      ///< Offset of the first block that was never out.
    std::uint32_t live = 0;
    std::uint16_t index = 0;
    bool linked = false;

    std::byte* at(std::uint32_t offset) { return reinterpret_cast<std::byte*>(this) + offset; }
    bool has_room(std::size_t size) const { return free_head != 0 || fresh + size <= kPageSize; }
};

// 16-byte steps up to 256, then four classes per doubling up to 4 KiB: at most a fifth is wasted.
std::size_t Arena::class_of(std::size_t size) {
    if (size <= 256) return size == 0 ? 0 : (size - 1) / 16;
    const auto bits = static_cast<std::size_t>(std::bit_width(size - 1));  // 9 … 12
    const std::size_t step = std::size_t{1} << (bits - 3);
    const std::size_t below = std::size_t{1} << (bits - 1);
    return 16 + (bits - 9) * 4 + (size - 1 - below) / step;
}

std::size_t Arena::size_of_class(std::size_t index) {
    if (index < 16) return (index + 1) * 16;
    const std::size_t bits = 9 + (index - 16) / 4;
    return (std::size_t{1} << (bits - 1)) + ((index - 16) % 4 + 1) * (std::size_t{1} << (bits - 3));
}

std::size_t Arena::cost_of(std::size_t size) {
    return size == 0 ? 0 : size_of_class(class_of(size));
}

Arena::~Arena() {
    for (std::size_t i = 0; i < kClasses; ++i) {
        // Full pages are not linked anywhere: whoever owns the blocks frees them first.
        for (Page* page = partial_[i]; page != nullptr;) {
            Page* next = page->next;
            std::free(page);
            page = next;
        }
        std::free(spare_[i]);
    }
}

Arena::Page* Arena::add_page(std::size_t index) {
    Page* page = spare_[index];
    spare_[index] = nullptr;
    if (page == nullptr) {
        void* raw = std::aligned_alloc(kPageSize, kPageSize);
        if (raw == nullptr) throw std::bad_alloc{};
        page = static_cast<Page*>(raw);
        ++pages_;
    }
    new (page) Page{};
    page->fresh = (sizeof(Page) + 15) & ~std::uint32_t{15};
    page->index = static_cast<std::uint16_t>(index);
    link(page);
    return page;
}

void Arena::link(Page* page) {
    Page*& head = partial_[page->index];
    page->prev = nullptr;
    page->next = head;
    if (head != nullptr) head->prev = page;
    head = page;
    page->linked = true;
}

void Arena::unlink(Page* page) {
    (page->prev != nullptr ? page->prev->next : partial_[page->index]) = page->next;
    if (page->next != nullptr) page->next->prev = page->prev;
    page->linked = false;
}

std::byte* Arena::store(base::ByteView bytes) {
    if (bytes.empty()) return nullptr;
    FORKMILL_CHECK(bytes.size() <= kLargest);
    const std::size_t index = class_of(bytes.size());
    const std::size_t size = size_of_class(index);
    Page* page = partial_[index];
    if (page == nullptr) page = add_page(index);
    std::byte* block = nullptr;
    if (page->free_head != 0) {
        block = page->at(page->free_head);
        std::memcpy(&page->free_head, block, sizeof page->free_head);
    } else {
        block = page->at(page->fresh);
        page->fresh += static_cast<std::uint32_t>(size);
    }
    ++page->live;
    if (!page->has_room(size)) unlink(page);
    used_ += size;
    std::memcpy(block, bytes.data(), bytes.size());
    return block;
}

void Arena::free(std::byte* data, std::size_t size) {
    if (data == nullptr) return;
    auto* page = reinterpret_cast<Page*>(reinterpret_cast<std::uintptr_t>(data) & ~(kPageSize - 1));
    const std::size_t index = class_of(size);
    FORKMILL_CHECK(page->index == index && page->live > 0);
    std::memcpy(data, &page->free_head, sizeof page->free_head);
    page->free_head = static_cast<std::uint32_t>(data - page->at(0));
    --page->live;
    used_ -= size_of_class(index);
    if (!page->linked) link(page);
    if (page->live != 0) return;
    unlink(page);
    if (spare_[index] == nullptr) {
        spare_[index] = page;
    } else {
        std::free(page);
        --pages_;
    }
}

}  // namespace forkmill::engine
