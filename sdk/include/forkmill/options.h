// SPDX-License-Identifier: Apache-2.0
// Options are plain aggregates: every field has a default, a unit and one documented order, for
// designated initialisers.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "forkmill/detail/export.h"

namespace forkmill {
inline namespace v0 {

using Duration = std::chrono::nanoseconds;
/// "No limit" where a timeout is asked for.
inline constexpr Duration forever = Duration::max();

/// Name of a task for ever; prints as 32 hex digits, attaches from any program.
struct TaskId {
    std::uint64_t stream = 0;
    std::uint64_t seq = 0;
    auto operator<=>(const TaskId&) const = default;
};
FORKMILL_API std::string to_string(const TaskId& id);
/// The inverse; nullopt for anything else.
FORKMILL_API std::optional<TaskId> parse_task_id(std::string_view text);

/// How one task (or every task of a Call) is to be treated.
struct TaskOptions {
    std::string queue = {};  ///< Empty: the pool's default queue.
    int priority =
        0;  ///< Higher starts earlier; each step is worth one second of waiting. −1000 … 1000.
    Duration soft_timeout = {};  ///< Then the task's stop token is set. 0: none.
    Duration timeout =
        {};  ///< Then its worker process is replaced and the task ends with TaskTimeout. 0: none.
    Duration delay = {};  ///< Not before this long after the submit, ≤ 30 days.
    std::optional<std::chrono::system_clock::time_point> deadline =
        {};                     ///< Not begun by then: Expired.
    int max_retries = 0;        ///< Runs again after an error this often.
    int crash_limit = 3;        ///< Worker deaths this task may cause; then WorkerLost.
    bool at_most_once = false;  ///< Never runs twice; a lost worker ends it with WorkerLost.
    bool detached = false;      ///< Survives this program; reach it by attach(id) for result_ttl.
    std::string key = {};  ///< ≤ 64 bytes: the same key gives the same task, across programs.
};

/// How map and imap travel. Every item is its own task for lease, retry, error and cancel, whatever
/// is set here.
struct MapOptions {
    std::size_t chunksize = 0;  ///< Items per message; 0: adaptive.
    std::size_t window = 0;     ///< imap: items in flight; 0: adaptive.
};

enum class Cancel : std::uint8_t {
    ask,   ///< Waiting tasks end at once; a running one has its stop token set.
    kill,  ///< A running one's worker process is replaced.
};

}  // namespace v0
}  // namespace forkmill
