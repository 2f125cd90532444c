// SPDX-License-Identifier: Apache-2.0
// LockWord: a lock in memory that processes share, taken and given by one compare-and-swap while
// nobody waits for it; LockWords: a range of them.
//
// The broker grips a word when somebody has to wait, or when it must know who has it; what is
// gripped is the broker's alone until it lets go. Locks that are thin until they are contended are
// Bacon et al.'s (PLDI 1998); here they become thin again when their line is empty.
//
// Invariants: (1) a word that is not gripped and has no mark is free; (2) every grant raises the
// count, so a swap that was prepared before one fails after it; (3) token = base + count, and the
// base changes only in a word that is gripped and free: tokens grow with every grant.
// Threading: take() and give() by any process that maps the word, the rest by the broker that owns
// it; allot() and give_back() by any thread of the process that made the range.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <new>
#include <optional>
#include <span>

namespace forkmill::base {

class alignas(64) LockWord {
  public:
    /// Who has it: a session, by its mark, and which holder of it.
    struct Hold {
        std::uint32_t mark = 0;   ///< 0: nobody.
        std::uint64_t owner = 0;  ///< 0: not told yet, or not any more.
        std::uint64_t token = 0;
        bool died = false;  ///< The owner before did not give it back.
    };

    /// Nothing when another has it, somebody waits for it, or the broker must renew its tokens.
    std::optional<Hold> take(std::uint32_t mark, std::uint64_t owner) {
        const std::uint64_t first = base_.load(std::memory_order_acquire);
        std::uint64_t now = word_.load(std::memory_order_acquire);
        if ((now & (kGripped | kMark)) != 0 || (now & kCount) == kCount) return std::nullopt;
        const std::uint64_t mine = ((now & kCount) + kOne) | mark;
        if (!word_.compare_exchange_strong(now, mine, std::memory_order_acq_rel))
            return std::nullopt;
        if (base_.load(std::memory_order_acquire) != first) {
            static_cast<void>(give(mark, token_of(mine)));
            return std::nullopt;
        }
        // Whoever looks for what an ended attempt left finds it: that looks later than this.
        owner_.store(owner, std::memory_order_release);
        return Hold{mark, owner, first + (mine >> kCountShift), (now & kDied) != 0};
    }

    /// False: it is the broker's to take back, who has gripped it or taken it away.
    bool give(std::uint32_t mark, std::uint64_t token) {
        std::uint64_t now = word_.load(std::memory_order_acquire);
        if ((now & kGripped) != 0 || (now & kMark) != mark || token_of(now) != token) return false;
        owner_.store(0, std::memory_order_release);  // Else it would be taken for the next one's.
        return word_.compare_exchange_strong(now, now & kCount, std::memory_order_acq_rel);
    }

    /// Then taking it is not worth another look.
    bool is_gripped() const { return (word_.load(std::memory_order_acquire) & kGripped) != 0; }

    // The broker's.
    Hold look() const { return hold_of(word_.load(std::memory_order_acquire)); }
    /// From now on the broker alone changes it.
    Hold grip() { return hold_of(word_.fetch_or(kGripped, std::memory_order_acq_rel)); }
    // The following REQUIRE that it is gripped.
    /// Free, with greater tokens than `least` and all it had; nothing prepared before succeeds.
    void begin(std::uint64_t least) {
        const std::uint64_t now = word_.load(std::memory_order_relaxed);
        const std::uint64_t token = std::max(token_of(now), least) + 1;
        const std::uint64_t count = ((now & kCount) + kOne) & kCount;
        base_.store(token - (count >> kCountShift), std::memory_order_release);
        word_.store(kGripped | count, std::memory_order_release);
    }
    /// The token of a grant by the broker. REQUIRES: it is free.
    std::uint64_t draw() {
        const std::uint64_t now = word_.load(std::memory_order_relaxed);
        if ((now & kCount) == kCount)
            begin(0);
        else
            word_.store(kGripped | ((now & kCount) + kOne), std::memory_order_release);
        return token_of(word_.load(std::memory_order_relaxed));
    }
    /// With a mark it is that session's, under the token that was drawn last.
    void let_go(std::uint32_t mark, std::uint64_t owner, bool died) {
        owner_.store(owner, std::memory_order_release);
        const std::uint64_t count = word_.load(std::memory_order_relaxed) & kCount;
        word_.store(count | mark | (died ? kDied : 0), std::memory_order_release);
    }

  private:
    static constexpr int kCountShift = 32;
    static constexpr std::uint64_t kOne = 1ULL << kCountShift;
    static constexpr std::uint64_t kMark = kOne - 1;
    static constexpr std::uint64_t kCount = ((1ULL << 30) - 1) << kCountShift;
    static constexpr std::uint64_t kDied = 1ULL << 62;
    static constexpr std::uint64_t kGripped = 1ULL << 63;

    std::uint64_t token_of(std::uint64_t word) const {
        return base_.load(std::memory_order_acquire) + ((word & kCount) >> kCountShift);
    }
    Hold hold_of(std::uint64_t word) const {
        return {static_cast<std::uint32_t>(word & kMark),
                owner_.load(std::memory_order_acquire),
                token_of(word),
                (word & kDied) != 0};
    }

    std::atomic<std::uint64_t> word_{kGripped};
    std::atomic<std::uint64_t> base_{0};
    std::atomic<std::uint64_t> owner_{0};
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "words are shared by processes");

/// Hands out the words of a range that outlives it, gripped; the longest unused first, so that
/// what was prepared for an earlier use is long over. Nothing is written to what was never used.
class LockWords {
  public:
    explicit LockWords(std::span<LockWord> words) : words_(words) {}

    std::optional<std::uint32_t> allot() {
        const std::lock_guard lock{mutex_};
        if (fresh_ < words_.size()) {
            ::new (static_cast<void*>(&words_[fresh_])) LockWord;
            return fresh_++;
        }
        if (returned_.empty()) return std::nullopt;
        const std::uint32_t index = returned_.front();
        returned_.pop_front();
        return index;
    }
    /// REQUIRES: gripped.
    void give_back(std::uint32_t index) {
        const std::lock_guard lock{mutex_};
        returned_.push_back(index);
    }
    LockWord& at(std::uint32_t index) { return words_[index]; }
    std::size_t size() const { return words_.size(); }

  private:
    const std::span<LockWord> words_;
    std::mutex mutex_;
    std::uint32_t fresh_ = 0;
    std::deque<std::uint32_t> returned_;
};

}  // namespace forkmill::base
