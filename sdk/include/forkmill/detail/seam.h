// SPDX-License-Identifier: Apache-2.0
// The seam between the templates of the public headers and the library: bytes and numbers only, no
// template below it.
//
// Nothing in namespace detail is promised to users. A Client is one session (embedded, remote, or a
// worker's own for nested tasks); it lives behind a shared_ptr that every handle holds, so handles
// may outlive their Pool (they are settled by then). Threading: all functions are thread-safe
// unless said otherwise. Errors leave as the exceptions of errors.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "forkmill/detail/export.h"
#include "forkmill/options.h"

namespace forkmill {
inline namespace v0 {

class Dispatcher;
struct PoolOptions;
struct WorkerInfo;

namespace detail {

using Bytes = std::span<const std::byte>;
using Buffer = std::vector<std::byte>;

class Client;
using ClientPtr = std::shared_ptr<Client>;

/// A pending or settled result: a slot of the client's table, fenced by its generation.
struct Ticket {
    std::uint32_t slot = UINT32_MAX;
    std::uint32_t generation = 0;
    explicit operator bool() const { return slot != UINT32_MAX; }
};

/// How a slot ended. `body` stays valid until the ticket is dropped. outcome 0 = succeeded, else
/// wire::Outcome and an ErrorInfo in body.
struct SettledView {
    std::uint8_t outcome = 0;
    Bytes body;
};
/// Throws the typed exception of a settled view that did not succeed.
[[noreturn]] FORKMILL_API void throw_error(const SettledView& view);
/// The same as an exception_ptr (callbacks).
FORKMILL_API std::exception_ptr error_of(const SettledView& view);

/// In a worker, where a task's result threw while it was packed: what is being handled, as that.
[[noreturn]] FORKMILL_API void throw_result_not_packed();

/// Something to run once a slot settles, on the callback thread or the dispatcher. Owned by the
/// client after `then`.
class Completion {
  public:
    virtual ~Completion() = default;
    virtual void run(const SettledView& view) = 0;
};

/// Process-wide number of a (name, signature, options without per-task parts); equal ones give
/// equal numbers. Cheap to cache in a static.
FORKMILL_API std::uint32_t intern_template(std::string_view name,
                                           std::string_view signature,
                                           const TaskOptions& options);
/// Name of a bare function: "@<build>+<offset>:<build>+<offset>" of the function and of the thunk
/// that runs it. Throws UsageError if an address is in no module.
FORKMILL_API std::string function_name(const void* function, const void* thunk);

struct Dependency {
    std::uint32_t argument = 0;
    Ticket ticket;  ///< Of the same client.
};
/// Per-task parts of a submit that most tasks do not have.
struct SubmitExtra {
    std::optional<std::chrono::system_clock::time_point> deadline;
    std::string_view key;
    std::span<const Dependency> dependencies;
};

/// Queues one task; blocks while the session is at its bound (not on the callback thread's own
/// pool: there it may exceed the hand-over bound).
FORKMILL_API Ticket submit(Client& client,
                           std::uint32_t template_number,
                           Bytes arguments,
                           const SubmitExtra* extra);
FORKMILL_API TaskId id_of(Client& client, Ticket ticket);
/// Waits until settled; false at the deadline. Throws Disconnected for a bounded wait on a session
/// whose broker is silent (semantics 8). In a task it lends the slot (17).
FORKMILL_API bool wait(Client& client, Ticket ticket, Duration timeout);
FORKMILL_API bool ready(Client& client, Ticket ticket);
/// REQUIRES: ready.
FORKMILL_API SettledView view(Client& client, Ticket ticket);
FORKMILL_API void cancel(Client& client, Ticket ticket, bool kill);
FORKMILL_API void then(Client& client, Ticket ticket, std::unique_ptr<Completion> completion);
FORKMILL_API void on_progress(Client& client,
                              Ticket ticket,
                              std::function<void(double, std::string_view)> handler);
/// The handle is gone: the task goes on, its result is dropped.
FORKMILL_API void drop(Client& client, Ticket ticket) noexcept;
FORKMILL_API Ticket attach(Client& client, const TaskId& id);

/// Many tasks of one template with results by index (map, imap). One owner; item functions may be
/// called from one thread at a time.
class Group;
using GroupPtr = std::shared_ptr<Group>;
FORKMILL_API GroupPtr group_begin(ClientPtr client,
                                  std::uint32_t template_number,
                                  std::size_t expected);
FORKMILL_API void group_submit(Group& group,
                               Bytes arguments,
                               const SubmitExtra* extra);  ///< The next index.
FORKMILL_API void group_flush(Group& group);  ///< Nothing more for now: hand over what is buffered.
FORKMILL_API bool group_wait_all(Group& group, Duration timeout);
FORKMILL_API bool group_wait_item(Group& group, std::size_t index, Duration timeout);
/// Index of a settled item not yet told, in completion order; nullopt at the timeout. REQUIRES: one
/// is outstanding or settled.
FORKMILL_API std::optional<std::size_t> group_next(Group& group, Duration timeout);
FORKMILL_API std::size_t group_settled(const Group& group);
FORKMILL_API SettledView group_view(Group& group, std::size_t index);
FORKMILL_API void group_release(Group& group, std::size_t index);  ///< This item's memory may go.
FORKMILL_API void group_cancel(Group& group, bool kill) noexcept;  ///< All unsettled items.
/// Runs once every submitted item is settled (after group_flush with nothing to follow).
FORKMILL_API void group_then(Group& group, std::function<void()> done);
FORKMILL_API TaskId group_id(Group& group, std::size_t index);

// Sessions.
FORKMILL_API ClientPtr open_client(const PoolOptions& options);
FORKMILL_API void close_client(Client& client);
FORKMILL_API void terminate_client(Client& client) noexcept;
/// True when everything settled and, embedded, every worker is gone; false at the timeout. Throws
/// UsageError before close/terminate or on the callback thread.
FORKMILL_API bool join_client(Client& client, Duration timeout);
/// ~Pool: terminate, settle all handles, run queued callbacks, stop workers and threads (api.md
/// ruling 7).
FORKMILL_API void destroy_client(Client& client) noexcept;
FORKMILL_API std::vector<WorkerInfo> workers_of(Client& client);

// What a worker runs.
struct Arguments {
    Bytes body;  ///< A packed array of the arguments.
    std::span<const std::pair<std::uint32_t, Bytes>>
        dependencies;  ///< Values for placeholders, by argument position.
};
/// Serial number of the newest Runner of this process; embedded workers know those made before the
/// snapshot.
FORKMILL_API std::uint64_t runner_serial() noexcept;
FORKMILL_API std::uint64_t next_runner_serial() noexcept;
class Runner {
  public:
    Runner() noexcept : serial_(next_runner_serial()) {}
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;
    virtual ~Runner() = default;
    /// Decodes, calls, encodes the result. Throws what the user's code throws, PackError for
    /// arguments that do not fit.
    virtual void run(const Arguments& arguments, Buffer& result) const = 0;
    std::uint64_t serial() const { return serial_; }

  private:
    std::uint64_t serial_;
};
/// Runs a bare function: `function` is the user's, the thunk itself knows its type.
using Thunk = void (*)(const void* function, const Arguments& arguments, Buffer& result);

struct TaskEntry {
    std::string name;
    std::string signature;
    std::shared_ptr<const Runner>
        runner;  ///< Set for callables with state; else thunk and function are.
    Thunk thunk = nullptr;
    const void* function = nullptr;
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
