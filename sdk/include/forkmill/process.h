// SPDX-License-Identifier: Apache-2.0
// Process: one function in a process of its own, as Python's multiprocessing.Process.
//
//     forkmill::Process p{crunch, 42, "data.bin"};
//     p.start();
//     p.join();  // Then p.exit_code() says how it went.
//
// Processes are forked by the program's fork server (see forkmill::init), never by the program
// itself, so they may be started while other threads run. They see the program as it was when the
// fork server was forked: by init(), else by the first Pool or Process made, which the program must
// do with one thread. The fork server then lives as long as a Pool or Process does, or as a child
// runs; what was bound, loaded or captured after it was forked cannot run: Rejected.
//
// In the child: stdin is /dev/null, SIGINT is ignored, every other signal has its default effect,
// sockets and pipes of the program are /dev/null but for `keep_fds`, and it ends with its parent.
// Handles of shared objects (shared.h) may be arguments. A Process keeps them until start() has
// returned; from then on the child has handles of its own, and yours may go. Its death is an
// owner's death: at once its locks are free and what it got of leased queues returns. Its handles
// are of the pool that yours are of and end with that (BrokerLost, never a hang). Such a child has
// a connection, with a thread, per pool and its own fork server, so that it may start processes
// all the same; on its main thread context().pool() is the pool of the first handle, for new
// objects and for tasks. Handles of a running task's pool are refused: UsageError.
//
// It exits 0 when the function returns. What it throws and nobody catches goes to stderr with its
// causes and its stack, and the exit code is 1; nothing is unwound then. A child may start others.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "forkmill/detail/arguments.h"
#include "forkmill/detail/object_seam.h"
#include "forkmill/task.h"
#include "forkmill/tasks.h"

namespace forkmill {
inline namespace v0 {

struct ProcessOptions {
    std::string name = {};  ///< Empty: Process-N; Process-1:2 is the second that Process-1 made.
    bool daemon = false;    ///< Its parent's exit ends it; else that waits for it.
    Tasks tasks = {};       ///< Of these, the code of the Task it is given.
    std::vector<int> keep_fds = {};  ///< The child has these too, same numbers; at most 4.
};

/// What is known of a process from within it.
struct ProcessInfo {
    std::string name;  ///< MainProcess, that of a Process, Worker-N in an embedded pool.
    std::int32_t pid = 0;
    bool daemon = false;
};

namespace detail {

/// A process as it is to be.
struct ProcessPlan {
    std::string name;
    std::string path;  ///< "1:2" of Process-1:2.
    bool daemon = false;
    TaskEntry entry;
    std::vector<int> keep_fds;
    Buffer arguments = {};
    std::vector<SharedPtr> handles = {};  ///< In them, in their order; until it is born.
};
struct Child;

/// What runs `code`; what it returns is nobody's.
template <class R, class... A>
TaskEntry entry_of_function(R (*code)(A...)) {
    TaskEntry entry;
    entry.thunk = &ThunkFor<Contract<void(A...)>, R (*)(A...)>::run;
    entry.function = reinterpret_cast<const void*>(code);
    return entry;
}

/// Throws UsageError when nothing is bound to that task.
FORKMILL_API TaskEntry entry_of_task(const Tasks& tasks,
                                     std::string_view name,
                                     const std::string& signature);

template <class F>
TaskEntry process_entry(const ProcessOptions& options, const F& code) {
    static_assert(!is_call<F>,
                  "forkmill: a Process takes a function or a Task; task options are for pools");
    if constexpr (is_task<F>) {
        return entry_of_task(options.tasks, F::name, ContractFor<F>::signature());
    } else if constexpr (std::is_class_v<F> && Captureless<F>) {
        return entry_of_function(+code);
    } else if constexpr (PlainFunction<F>) {
        return entry_of_function(code);
    } else {
        return {};  // ContractFor has said why.
    }
}

template <class F, class... B>
Buffer process_arguments(const B&... arguments) {
    using Tuple = typename ContractFor<F>::Arguments;
    using Fits = Fit<Tuple, B...>;
    static_assert(Fits::count && Fits::types(),
                  "forkmill: these arguments do not match the function's signature");
    static_assert(!(is_async<std::decay_t<B>> || ...),
                  "forkmill: a pending result cannot be the argument of a Process: get() it first");
    Buffer packed;
    if constexpr (Fits::count && Fits::types() && !(is_async<std::decay_t<B>> || ...)) {
        Packer packer{packed};
        std::vector<Dependency> none;
        pack_all<Tuple>(nullptr, packer, none, std::index_sequence_for<B...>{}, arguments...);
    }
    return packed;
}

template <class F, class... B>
ProcessPlan process_plan(const ProcessOptions& options, const F& code, const B&... arguments) {
    ProcessPlan plan{
        options.name, {}, options.daemon, process_entry(options, code), options.keep_fds};
    const Passing passing{plan.handles};
    plan.arguments = process_arguments<F>(arguments...);
    return plan;
}

}  // namespace detail

/// A handle; copies of it are the same process. Dropping all of them leaves the process running.
/// Thread-safe. In a fork of the program that made it, every call throws ForkedContextError.
class FORKMILL_API Process {
  public:
    /// Packs the arguments, as Pool::apply does; nothing runs before start(). Throws UsageError
    /// when the fork server would have to be forked while other threads exist, Rejected for code
    /// that it does not know, PackError.
    template <class F, class... B>
    requires(!std::is_same_v<F, Process> &&
             !std::is_same_v<F, ProcessOptions>) explicit Process(const F& code, B&&... arguments)
        : Process(ProcessOptions{}, code, std::forward<B>(arguments)...) {}
    template <class F, class... B>
    explicit Process(const ProcessOptions& options, const F& code, B&&... arguments)
        : Process(detail::process_plan(options, code, arguments...)) {}
    ~Process();
    Process(const Process&);
    Process(Process&&) noexcept;
    Process& operator=(const Process&);
    Process& operator=(Process&&) noexcept;

    /// Returns once it is born. Throws UsageError when it was started already or a kept descriptor
    /// is closed, PoolBroken when the fork server is dead, Busy when the system refuses it or 4,096
    /// processes of this program run already, and for handles among its arguments what opening them
    /// throws (ObjectLost, BrokerLost, …); after that it may be tried again.
    void start();
    /// Waits for its end; false at the timeout (0 or less: now). Throws UsageError before start().
    bool join(Duration timeout = forever);
    /// SIGTERM, or SIGKILL, for it. Throws UsageError before start(); nothing after its end.
    void terminate();
    void kill();
    /// Frees what it holds; every later call throws UsageError, and this one while it runs.
    void close();

    const std::string& name() const;
    bool daemon() const;
    /// 0 before start().
    std::int32_t pid() const;
    bool is_alive() const;
    /// None before its end; −N when signal N ended it.
    std::optional<int> exit_code() const;
    /// Readable once it has ended; for poll, epoll and wait(). Its own, until close() or the last
    /// handle's end. Throws UsageError before start().
    int sentinel() const;

    /// For the library.
    explicit Process(detail::ProcessPlan plan);
    explicit Process(std::shared_ptr<detail::Child> child);

  private:
    detail::Child& child() const;
    std::shared_ptr<detail::Child> child_;
};

/// The living processes that this one started, oldest first; reaps the dead.
FORKMILL_API std::vector<Process> active_children();
FORKMILL_API ProcessInfo current_process();
/// Of the process that made this one; none in the program that the user started.
FORKMILL_API std::optional<ProcessInfo> parent_process();
/// CPUs that this process may use, by affinity and cgroup; at least 1.
FORKMILL_API int cpu_count();

/// Something to wait for: a descriptor, or what has one: a process's sentinel(), a socket's fd(), a
/// Connection's.
struct Waitable {
    Waitable(int descriptor) : fd(descriptor) {}  // NOLINT(google-explicit-constructor)
    template <class T>
    requires requires(const T& object) {
        { object.fd() } -> std::convertible_to<int>;
    }
    Waitable(const T& object) : fd(object.fd()) {}  // NOLINT(google-explicit-constructor)
    template <class T>
    requires requires(const T& object) {
        { object.sentinel() } -> std::convertible_to<int>;
    }
    Waitable(const T& object) : fd(object.sentinel()) {}  // NOLINT(google-explicit-constructor)
    int fd;
};

/// Waits until one is readable or hung up. Returns all that are, in the order given; none at the
/// timeout (0 or less: only looks). Throws UsageError for what is not open.
FORKMILL_API std::vector<int> wait(const std::vector<Waitable>& objects,
                                   Duration timeout = forever);

}  // namespace v0
}  // namespace forkmill
