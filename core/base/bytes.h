// SPDX-License-Identifier: Apache-2.0
// Blob: shared bytes that move between layers and threads without being copied; Message: what one
// peer says at once.
//
// Invariants: (1) the bytes of a Blob do not change once a second Blob shares them; (2) a slice
// keeps its whole block alive, so long-lived small parts are copied out instead (the broker's arena
// does). Threading: the count is atomic; distinct Blobs are independent.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/check.h"

namespace forkmill::base {

using ByteView = std::span<const std::byte>;

inline ByteView bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view text_of(ByteView bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Blob {
  public:
    Blob() = default;
    Blob(const Blob& other) noexcept
        : block_(other.block_), data_(other.data_), size_(other.size_) {
        if (block_ != nullptr) block_->count.fetch_add(1, std::memory_order_relaxed);
    }
    Blob(Blob&& other) noexcept
        : block_(std::exchange(other.block_, nullptr)),
          data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
    Blob& operator=(Blob other) noexcept {
        std::swap(block_, other.block_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Blob() { drop(); }

    /// A block of its own, contents undefined; fill it through mutable_data() before it is shared.
    static Blob allocate(std::size_t size) {
        void* raw = std::malloc(sizeof(Block) + size);
        if (raw == nullptr) throw std::bad_alloc{};
        auto* block = new (raw) Block{};
        block->free = [](Block* b) {
            b->~Block();
            std::free(b);
        };
        return Blob{block, reinterpret_cast<std::byte*>(block + 1), size};
    }
    static Blob copy(ByteView bytes) {
        Blob blob = allocate(bytes.size());
        if (!bytes.empty()) std::memcpy(blob.mutable_data(), bytes.data(), bytes.size());
        return blob;
    }
    /// Takes over `owner` (moved to the heap) and shows its bytes until the last sharer is gone;
    /// ends with owner's destructor.
    template <class Owner>
    static Blob adopt(Owner owner, std::byte* data, std::size_t size) {
        struct Holder : Block {
            explicit Holder(Owner o) : owner(std::move(o)) {}
            Owner owner;
        };
        auto* holder = new Holder{std::move(owner)};
        holder->free = [](Block* b) { delete static_cast<Holder*>(b); };
        return Blob{holder, data, size};
    }

    const std::byte* data() const { return data_; }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    ByteView view() const { return {data_, size_}; }
    operator ByteView() const {
        return view();
    }  // NOLINT(google-explicit-constructor): a Blob is bytes

    /// True when nobody else shares the block, so that its bytes may be written again.
    bool unique() const {
        return block_ == nullptr || block_->count.load(std::memory_order_acquire) == 1;
    }
    /// REQUIRES: nobody else shares the block.
    std::byte* mutable_data() {
        FORKMILL_CHECK(block_ == nullptr || block_->count.load(std::memory_order_relaxed) == 1);
        return data_;
    }
    /// Keeps the first `size` bytes. REQUIRES: size ≤ size().
    void truncate(std::size_t size) {
        FORKMILL_CHECK(size <= size_);
        size_ = size;
    }
    /// A part that shares the block. REQUIRES: offset + size ≤ size().
    Blob slice(std::size_t offset, std::size_t size) const {
        FORKMILL_CHECK(offset <= size_ && size <= size_ - offset);
        Blob part = *this;
        part.data_ += offset;
        part.size_ = size;
        return part;
    }

  private:
    struct Block {
        std::atomic<std::uint32_t> count{1};
        void (*free)(Block*) = nullptr;
    };

    Blob(Block* block, std::byte* data, std::size_t size)
        : block_(block), data_(data), size_(size) {}
    void drop() noexcept {
        if (block_ != nullptr && block_->count.fetch_sub(1, std::memory_order_acq_rel) == 1)
            block_->free(block_);
        block_ = nullptr;
    }

    Block* block_ = nullptr;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// One control frame and the payload frames it names (docs/protocol.md). Sent whole or not at all.
struct Message {
    Blob control;
    std::vector<Blob> payloads;

    std::size_t bytes() const {
        std::size_t sum = control.size();
        for (const Blob& payload : payloads) sum += payload.size();
        return sum;
    }
};

}  // namespace forkmill::base
