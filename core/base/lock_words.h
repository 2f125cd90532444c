// SPDX-License-Identifier: Apache-2.0
// LockWord: a lock in memory that processes share, taken and given by one compare-and-swap while
// nobody waits for it; LockWords: a range of them.
//
// The broker grips a word when somebody has to wait, or when it must know who has it; what is
// gripped is the broker's alone until it lets go. Locks that are thin until they are contended are
// Bacon et al.'s (PLDI 1998); here they become thin again when their line is empty.
//
// Invariants: (1) a word that is not gripped and has no mark is free; (2) token = base + count, the
// count grows with every grant, and the base only in a word that is gripped and free: tokens grow
// with every grant; (3) whoever knows the word for an earlier lock neither takes nor gives it.
// Threading: take() and give() by any process that maps the word, the rest by the broker that owns
// it; allot() and give_back() by any thread of the process that made the range.
#pragma once

#include <algorithm>
#include <atomic>
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

    /// Nothing when another has it, somebody waits for it, the broker must renew its tokens, or it
    /// is another lock's by now.
    std::optional<Hold> take(std::uint32_t use, std::uint32_t mark, std::uint64_t owner) {
        std::uint64_t now = word_.load(std::memory_order_acquire);
        if ((now & (kGripped | kMark)) != 0 || (now & kCount) == kCount || use_of(now) != use)
            return std::nullopt;
        const std::uint64_t mine = ((now & ~kDied) + kOne) | mark;
        if (!word_.compare_exchange_strong(now, mine, std::memory_order_acq_rel))
            return std::nullopt;
        tell_owner(owner);
        return Hold{mark, owner, token_of(mine), (now & kDied) != 0};
    }

    /// The second half of take(): the broker may look in between, knows the session then, and looks
    /// again.
    void tell_owner(std::uint64_t owner) {
        std::uint64_t nobody = 0;
        owner_.compare_exchange_strong(nobody, owner, std::memory_order_acq_rel);
    }

    /// False: it is the broker's to take back, who has gripped it or taken it away.
    bool give(std::uint32_t use, std::uint32_t mark, std::uint64_t token) {
        std::uint64_t owner = owner_.load(std::memory_order_acquire);
        std::uint64_t now = word_.load(std::memory_order_acquire);
        const bool ours = (now & kGripped) == 0 && (now & kMark) == mark && use_of(now) == use &&
                          token_of(now) == token;
        if (!ours) return false;
        // Else it would be taken for the next one's.
        owner_.compare_exchange_strong(owner, 0, std::memory_order_acq_rel);
        return word_.compare_exchange_strong(now, now & ~kMark, std::memory_order_acq_rel);
    }

    /// Then taking it is not worth another look.
    bool is_gripped() const { return (word_.load(std::memory_order_acquire) & kGripped) != 0; }

    // The broker's.
    /// Which lock it serves: 16 bits, another with every begin().
    std::uint32_t use() const { return use_of(word_.load(std::memory_order_acquire)); }
    Hold look() const { return hold_of(word_.load(std::memory_order_acquire)); }
    /// From now on the broker alone changes it.
    Hold grip() { return hold_of(word_.fetch_or(kGripped, std::memory_order_acq_rel)); }
    // The following REQUIRE that it is gripped.
    /// Another lock's, free, with greater tokens than `least` and all it had.
    void begin(std::uint64_t least) {
        const std::uint64_t now = word_.load(std::memory_order_relaxed);
        base_.store(std::max(token_of(now), least) + 1, std::memory_order_release);
        owner_.store(0, std::memory_order_release);
        word_.store(kGripped | ((now + kOneUse) & kUse), std::memory_order_release);
    }
    /// The token of a grant by the broker. REQUIRES: it is free.
    std::uint64_t draw() {
        const std::uint64_t now = word_.load(std::memory_order_relaxed);
        std::uint64_t count = (now & kCount) + kOne;
        if ((now & kCount) == kCount) {
            base_.store(token_of(now), std::memory_order_release);
            count = kOne;
        }
        word_.store(kGripped | (now & kUse) | count, std::memory_order_release);
        return token_of(count);
    }
    /// With a mark it is that session's, under the token that was drawn last.
    void let_go(std::uint32_t mark, std::uint64_t owner, bool died) {
        // An owner that we do not know yet is about to be told.
        if (owner != 0 || mark == 0) owner_.store(owner, std::memory_order_release);
        const std::uint64_t kept = word_.load(std::memory_order_relaxed) & (kUse | kCount);
        word_.store(kept | mark | (died ? kDied : 0), std::memory_order_release);
    }

  private:
    static constexpr int kCountShift = 32;
    static constexpr std::uint64_t kOne = 1ULL << kCountShift;
    static constexpr std::uint64_t kMark = kOne - 1;
    static constexpr std::uint64_t kCount = ((1ULL << 14) - 1) << kCountShift;
    static constexpr int kUseShift = kCountShift + 14;
    static constexpr std::uint64_t kOneUse = 1ULL << kUseShift;
    static constexpr std::uint64_t kUse = 0xffffULL << kUseShift;
    static constexpr std::uint64_t kDied = 1ULL << 62;
    static constexpr std::uint64_t kGripped = 1ULL << 63;

    static std::uint32_t use_of(std::uint64_t word) {
        return static_cast<std::uint32_t>((word & kUse) >> kUseShift);
    }
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

/// Of an index, from 1, in a place that is told to sessions.
inline constexpr int kLockWordBits = 13;

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

  private:
    const std::span<LockWord> words_;
    std::mutex mutex_;
    std::uint32_t fresh_ = 0;
    std::deque<std::uint32_t> returned_;
};

}  // namespace forkmill::base
