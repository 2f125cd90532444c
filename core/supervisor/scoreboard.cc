// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/scoreboard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <string>
#include <type_traits>
#include <utility>

#include "core/base/check.h"

namespace forkmill::supervisor {

// All-zero bytes are a SlotCells, so a fresh memfd needs no constructor call; a lock-free atomic
// works between processes.
static_assert(std::is_standard_layout_v<SlotCells>);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

Scoreboard::Scoreboard(Scoreboard&& other) noexcept
    : fd_(std::move(other.fd_)),
      cells_(std::exchange(other.cells_, nullptr)),
      slots_(std::exchange(other.slots_, 0)) {}

Scoreboard& Scoreboard::operator=(Scoreboard&& other) noexcept {
    if (this != &other) {
        std::swap(fd_, other.fd_);
        std::swap(cells_, other.cells_);
        std::swap(slots_, other.slots_);
    }
    return *this;
}

Scoreboard::~Scoreboard() {
    if (cells_ != nullptr) ::munmap(cells_, sizeof(SlotCells) * slots_);
}

base::Result<Scoreboard> Scoreboard::create(std::uint32_t slots) {
    FORKMILL_CHECK(slots > 0);
    OwnedFd fd{::memfd_create("forkmill-scoreboard", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (!fd) return base::system_failure("cannot make a scoreboard");
    if (::ftruncate(fd.get(), static_cast<off_t>(sizeof(SlotCells) * slots)) != 0)
        return base::system_failure("cannot size a scoreboard");
    // A worker that could shrink it would end its master by SIGBUS.
    if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return base::system_failure("cannot seal a scoreboard");
    return attach(std::move(fd));
}

base::Result<Scoreboard> Scoreboard::attach(OwnedFd fd) {
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0)
        return base::system_failure("cannot read a scoreboard's size");
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size == 0 || size % sizeof(SlotCells) != 0)
        return base::Failure{"not a scoreboard: " + std::to_string(size) + " bytes"};
    const int seals = ::fcntl(fd.get(), F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
        return base::Failure{"not a scoreboard: it could shrink"};
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (memory == MAP_FAILED) return base::system_failure("cannot map a scoreboard");
    Scoreboard board;
    board.fd_ = std::move(fd);
    board.cells_ = static_cast<SlotCells*>(memory);
    board.slots_ = static_cast<std::uint32_t>(size / sizeof(SlotCells));
    return board;
}

SlotCells& Scoreboard::cells(std::uint32_t slot) const {
    FORKMILL_CHECK(slot < slots_);
    return cells_[slot];
}

void Scoreboard::reset(std::uint32_t slot, std::uint32_t pid, std::uint32_t generation) const {
    SlotCells& slot_cells = cells(slot);
    slot_cells.pid = pid;
    slot_cells.generation = generation;
    slot_cells.threads = 0;
    slot_cells.leaving = 0;
    slot_cells.io_tick_ns = 0;
    for (ThreadCell& cell : slot_cells.cells) {
        cell.lease = 0;
        cell.started_ns = 0;
        cell.hard_limit_ns = 0;
        cell.tasks_done = 0;
    }
}

std::vector<std::uint64_t> Scoreboard::running_leases(std::uint32_t slot) const {
    std::vector<std::uint64_t> leases;
    for (const ThreadCell& cell : cells(slot).cells) {
        const std::uint64_t lease = cell.lease.load(std::memory_order_relaxed);
        if (lease != 0) leases.push_back(lease);
    }
    return leases;
}

std::uint64_t Scoreboard::tasks_done(std::uint32_t slot) const {
    std::uint64_t done = 0;
    for (const ThreadCell& cell : cells(slot).cells)
        done += cell.tasks_done.load(std::memory_order_relaxed);
    return done;
}

}  // namespace forkmill::supervisor
