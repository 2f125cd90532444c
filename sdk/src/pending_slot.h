// SPDX-License-Identifier: Apache-2.0
// Slot: one task of a client's table, 96 bytes: its state word, its arguments until the outcome,
// its result afterwards; Aux: what most tasks do not have.
//
// Invariants: (1) `state` is the word waiters sleep on; (2) the fields from `outcome` to `storage`
// belong to the submitter until hand-over, to the I/O thread until kSettled, to the holders of
// references afterwards. Threading: as said there.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/wire/messages.h"
#include "forkmill/detail/seam.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

class GroupState;

enum SlotState : std::uint32_t {
    kSettled = 1,
    kWaiters = 2,  ///< Somebody sleeps on the word.
    kNotify = 4,   ///< `link` is an Aux with completions or a progress handler.
};
enum SlotForm : std::uint8_t {
    kBlob = 1,  ///< The body is a Blob in the storage, else it is the storage's first `size` bytes.
    kExtras = 2,  ///< `link` was an Aux from the beginning.
    kGroup = 4,   ///< `index` is the item's number in its GroupState: `link`, or the Aux's group
                  ///< with kExtras.
    kCancel = 8,  ///< A cancel was asked for …
    kKill = 16,   ///< … with kill.
};

inline constexpr std::size_t kInlineBytes = 56;
inline constexpr std::uint32_t kNoSlot = UINT32_MAX;

struct Slot {
    std::atomic<std::uint32_t> state{0};
    std::atomic<std::uint32_t> generation{0};
    std::atomic<std::uint32_t> refs{0};
    std::uint8_t outcome = 0;
    std::uint8_t form = 0;
    std::uint16_t template_id = 0;
    std::uint64_t seq = 0;
    void* link = nullptr;
    std::uint32_t size = 0;
    std::uint32_t index = kNoSlot;  ///< In its group; of the next free slot while free.
    alignas(8) std::array<std::byte, kInlineBytes> storage{};

    base::Blob& blob() { return *std::launder(reinterpret_cast<base::Blob*>(storage.data())); }
    base::ByteView body() {
        return (form & kBlob) != 0 ? blob().view() : base::ByteView{storage.data(), size};
    }
    void put(base::ByteView bytes);
    void put(base::Blob owner);
    void clear();
};
static_assert(sizeof(Slot) == 96);

/// What most tasks do not have.
struct Aux {
    bool has_extras = false;
    wire::Extras extras;  ///< Without dependencies: these follow.
    std::vector<Dependency>
        dependencies;  ///< Each holds a reference on its slot until this task settles.
    std::optional<base::TaskId> attach;  ///< No task of ours: the outcome of this one is asked for.
    GroupState* group = nullptr;
    std::vector<std::unique_ptr<Completion>> completions;
    std::function<void(double, std::string_view)> progress;
    double fraction = 0;  ///< Newest progress not yet told.
    std::string note;
    bool progress_queued = false;
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
