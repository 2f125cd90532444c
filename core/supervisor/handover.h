// SPDX-License-Identifier: Apache-2.0
// Handover: what a master tells its successor when it executes a new program in place: the same
// process, the same children, other code.
//
// Invariants: (1) descriptors are named by number and survive the exec because they were made
// inheritable right before it; (2) a format that this build does not know is refused, by a
// rehearsal in a throw-away process, before anything is given up; (3) nothing in it is trusted for
// more than a lookup: numbers are checked against what the new config allows. Threading: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/supervisor/channel.h"
#include "core/supervisor/slot.h"

namespace forkmill::supervisor {

/// Raised with the layout of Notice too: children speak it to whoever takes them over. 2: the peak
/// of memory and the core of a death.
inline constexpr std::uint32_t kHandoverFormat = 2;

/// A process that lives, or a slot whose birth count must go on (pid 0).
struct SavedChild {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    std::int32_t pid = 0;
    int pidfd = -1;
    int channel_fd = -1;
    int stderr_fd = -1;
    SlotState state = SlotState::Empty;
    std::int64_t born_ns = 0;  ///< Monotonic.
    bool was_ready = false;
    bool leaving = false;
    bool emptied = false;
    bool current = true;  ///< Of the version that was in force.
    Cause doom = Cause::Unknown;
};

struct SavedPool {
    std::string name;
    std::string identity;
    std::uint32_t workers = 0;
    bool closed = false;
    int scoreboard_fd = -1;
    std::vector<SavedChild> children;
};

struct SavedMaster {
    std::string owner;  ///< What the owner of the master saved for itself.
    std::string relay_identity;
    std::optional<SavedChild> relay;
    std::uint32_t relay_generation = 0;
    std::vector<SavedPool> pools;  ///< By index.
};

std::string to_text(const SavedMaster& saved);
base::Result<SavedMaster> saved_from_text(const std::string& text);

/// A text in pieces of any bytes: what owners write their share with.
class PieceWriter {
  public:
    void text(const std::string& piece);
    void number(std::int64_t piece) { text(std::to_string(piece)); }
    std::string take() { return std::move(out_); }

  private:
    std::string out_;
};
class PieceReader {
  public:
    explicit PieceReader(std::string text) : text_(std::move(text)) {}
    std::string text();
    std::int64_t number();
    /// False once something was asked for that was not there.
    bool good() const { return good_; }
    bool at_end() const { return at_ == text_.size(); }

  private:
    std::string text_;
    std::size_t at_ = 0;  ///< Where the next piece begins.
    bool good_ = true;
};

/// Set in a process that takes over (or, in a probe, rehearses it); the variable is removed.
std::optional<int> take_handover_fd();
std::string handover_variable(int fd);
/// Reads what lies there; closes it.
base::Result<SavedMaster> read_handover(int fd);

}  // namespace forkmill::supervisor
