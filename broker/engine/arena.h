// SPDX-License-Identifier: Apache-2.0
// Arena: small bodies in size classes, without a heap block per task.
//
// Invariants: (1) a block belongs to exactly one page, found by masking its address; (2) a page
// holds blocks of one class; (3) an empty page goes back to the system, one per class excepted; (4)
// bytes_used() is the sum of the class sizes of all blocks that are out. Threading: none; it
// belongs to the engine's thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/base/bytes.h"
#include "core/wire/limits.h"

namespace forkmill::engine {

class Arena {
  public:
    static constexpr std::size_t kLargest = wire::kInlineBodyMax;

    Arena() = default;
    ~Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    /// Copies `bytes` into a block. REQUIRES: bytes.size() ≤ kLargest. Nothing is stored for none.
    std::byte* store(base::ByteView bytes);
    /// Gives back a block of store(); `size` is what was stored in it.
    void free(std::byte* data, std::size_t size);
    /// What a body of `size` bytes really costs.
    static std::size_t cost_of(std::size_t size);

    std::uint64_t bytes_used() const { return used_; }
    std::uint64_t pages() const { return pages_; }

  private:
    struct Page;
    static constexpr std::size_t kPageSize = 64 * 1024;
    static constexpr std::size_t kClasses = 32;

    static std::size_t class_of(std::size_t size);
    static std::size_t size_of_class(std::size_t index);
    Page* add_page(std::size_t index);
    void unlink(Page* page);
    void link(Page* page);

    std::array<Page*, kClasses>
        partial_{};                        ///< Pages with a free block, most recently freed first.
    std::array<Page*, kClasses> spare_{};  ///< One empty page per class, against thrashing.
    std::uint64_t used_ = 0;
    std::uint64_t pages_ = 0;
};

}  // namespace forkmill::engine
