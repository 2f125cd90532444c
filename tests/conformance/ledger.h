// SPDX-License-Identifier: Apache-2.0
// Ledger: a page that processes share which are killed at any moment: what each is about to do,
// who is inside of what a lock protects, and what became of every item of a queue.
//
// Whoever writes may be gone before the next line, so each word is right by itself: a mark is set
// before what it announces, and another after. Invariant: nothing here waits for anybody. A breach
// is kept in words; the first one is what the test shows.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace conformance {

/// Of whoever churns; a kill is aimed at one.
enum class Moment : std::uint32_t {
    Rests,
    Between,
    WaitsForLock,
    Holds,
    Unlocks,
    WaitsForItem,
    HasItem,
    EndsItem,
    Puts,
};
inline constexpr std::size_t kMoments = 9;
const char* name_of(Moment moment);

inline constexpr std::size_t kChurners = 7;  ///< The last is this program itself.
enum SectionName : std::size_t { kFirst, kSecond, kReentrant, kConditional, kOwn };
inline constexpr std::size_t kSections = kOwn + kChurners;
inline constexpr std::uint32_t kItemsMax = 1 << 22;

/// What a lock protects.
struct Section {
    std::atomic<std::uint64_t> occupant;  ///< 0: nobody.
    std::atomic<std::uint64_t> token;     ///< Of the last grant.
    std::atomic<bool> told;               ///< A grant said that the owner before it died.
    std::atomic<std::uint64_t> entries;
    std::atomic<std::uint64_t> left_by_dead;
};

enum ItemMark : std::uint32_t { kPutBegun = 1, kPut = 2, kRefused = 4, kEndBegun = 8, kEnded = 16 };
struct Item {
    std::atomic<std::uint64_t> owner;  ///< 0: nobody.
    std::atomic<std::uint32_t> marks;
};

struct Churner {
    std::atomic<pid_t> pid;
    std::atomic<Moment> moment;
};

struct Ledger {
    std::atomic<std::uint64_t> operations;  ///< Of all, that ended.
    std::atomic<bool> stop;
    std::atomic<bool> quiet;  ///< Nobody begins anything: what was begun must end by itself.
    std::atomic<std::uint32_t> breaches;
    std::array<char, 300> first_breach;
    std::atomic<bool> breach_written;
    std::array<Churner, kChurners> churners;
    std::array<Section, kSections> sections;
    std::atomic<std::uint32_t> tickets;  ///< What is waited for under the condition's lock.
    std::atomic<std::uint32_t> next_item;
    std::array<Item, kItemsMax> items;

    void breach(const std::string& text);
};

/// The file of that name, mapped; it is made if it is not there. Its pages take room once they are
/// touched.
std::shared_ptr<Ledger> map_ledger(const std::string& path);

/// Who writes into the ledger: a process, and which of its churners. An owner that left without a
/// release, by the end of its task, counts as dead.
std::uint64_t identity(std::size_t churner);
inline constexpr std::uint64_t kTaskEnded = 1ULL << 63;
/// True once nobody of that identity can run any more; it waits a while for that.
bool is_gone(std::uint64_t identity);

/// A grant of the lock of `section`, just received: its token is greater than all before, or that
/// of one who is inside and came again.
void note_grant(Ledger& ledger,
                std::size_t section,
                std::uint64_t me,
                std::uint64_t token,
                bool owner_died);
void enter(Ledger& ledger, std::size_t section, std::uint64_t me);
void leave(Ledger& ledger, std::size_t section, std::uint64_t me);
/// An item that was got; and that is about to be said to be done.
void note_item(Ledger& ledger, std::uint32_t item, std::uint64_t me);
void note_end(Ledger& ledger, std::uint32_t item, std::uint64_t me);
/// What every item came to, once the queue is empty and nobody churns.
void judge_items(Ledger& ledger);

}  // namespace conformance
