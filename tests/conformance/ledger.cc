// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/ledger.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "tests/conformance/cluster.h"

namespace conformance {

namespace {

constexpr double kDying = 5;  ///< Seconds from a kill to the end, on a busy host.

std::string text_of(std::uint64_t identity) {
    return "pid " + std::to_string(identity >> 8 & INT32_MAX) + " churner " +
           std::to_string((identity & 0xFF) - 1);
}

}  // namespace

const char* name_of(Moment moment) {
    static constexpr const char* kNames[kMoments] = {"rests",
                                                     "between",
                                                     "waits for a lock",
                                                     "holds",
                                                     "unlocks",
                                                     "waits for an item",
                                                     "has an item",
                                                     "ends an item",
                                                     "puts"};
    return kNames[static_cast<std::size_t>(moment)];
}

void Ledger::breach(const std::string& text) {
    ++breaches;
    if (breach_written.exchange(true)) return;
    const std::size_t size = std::min(text.size(), first_breach.size() - 1);
    std::memcpy(first_breach.data(), text.data(), size);
}

std::shared_ptr<Ledger> map_ledger(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, sizeof(Ledger)) != 0)
        throw std::runtime_error("cannot make " + path);
    void* page = ::mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (page == MAP_FAILED) throw std::runtime_error("cannot map " + path);
    return {static_cast<Ledger*>(page), [](Ledger* mapped) { ::munmap(mapped, sizeof *mapped); }};
}

std::uint64_t identity(std::size_t churner) {
    return static_cast<std::uint64_t>(::getpid()) << 8 | (churner + 1);
}

bool is_gone(std::uint64_t identity) {
    if ((identity & kTaskEnded) != 0) return true;
    const pid_t pid = static_cast<pid_t>(identity >> 8);
    return wait_until(kDying, [&] { return !process_exists(pid); });
}

void note_grant(Ledger& ledger,
                std::size_t section,
                std::uint64_t me,
                std::uint64_t token,
                bool owner_died) {
    Section& here = ledger.sections[section];
    if (owner_died) here.told = true;
    const std::uint64_t last = here.token.exchange(token);
    const bool again = token == last && here.occupant == me;
    if (token <= last && !again)
        ledger.breach("section " + std::to_string(section) + ": token " + std::to_string(token) +
                      " after " + std::to_string(last) + ", to " + text_of(me));
}

void enter(Ledger& ledger, std::size_t section, std::uint64_t me) {
    Section& here = ledger.sections[section];
    const std::uint64_t before = here.occupant.exchange(me);
    const bool told = here.told.exchange(false);
    ++here.entries;
    if (before == 0) return;
    ++here.left_by_dead;
    const std::string who = "section " + std::to_string(section) + ": " + text_of(me);
    if (!told)
        ledger.breach(who + " was not told that the owner before it died: " + text_of(before));
    if (!is_gone(before)) ledger.breach(who + " is inside, and so is " + text_of(before));
}

void leave(Ledger& ledger, std::size_t section, std::uint64_t me) {
    std::uint64_t found = me;
    if (!ledger.sections[section].occupant.compare_exchange_strong(found, 0))
        ledger.breach("section " + std::to_string(section) + ": " + text_of(me) +
                      " was inside, and so was " + text_of(found));
}

void note_item(Ledger& ledger, std::uint32_t item, std::uint64_t me) {
    Item& here = ledger.items[item];
    const std::uint64_t before = here.owner.exchange(me);
    const std::uint32_t marks = here.marks;
    const std::string which = "item " + std::to_string(item);
    if ((marks & kPutBegun) == 0) ledger.breach(which + " was never put");
    if ((marks & kRefused) != 0) ledger.breach(which + " was refused, and yet got");
    if ((marks & kEnded) != 0) ledger.breach(which + " came again after it was done");
    if (before != 0 && !is_gone(before))
        ledger.breach(which + " has two owners: " + text_of(me) + " and " + text_of(before));
}

void note_end(Ledger& ledger, std::uint32_t item, std::uint64_t me) {
    Item& here = ledger.items[item];
    here.marks |= kEndBegun;
    std::uint64_t found = me;
    if (!here.owner.compare_exchange_strong(found, 0))
        ledger.breach("item " + std::to_string(item) + " was of " + text_of(me) +
                      ", and so it was of " + text_of(found));
}

void judge_items(Ledger& ledger) {
    const std::uint32_t count = std::min(ledger.next_item.load(), kItemsMax);
    for (std::uint32_t item = 0; item < count; ++item) {
        const std::uint32_t marks = ledger.items[item].marks;
        // One whose putter or whose consumer died in the middle of it may be there or not.
        if ((marks & kPut) != 0 && (marks & kEndBegun) == 0)
            ledger.breach("item " + std::to_string(item) + " is lost");
    }
}

}  // namespace conformance
