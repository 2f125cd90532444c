// SPDX-License-Identifier: Apache-2.0
// Pool: Python's multiprocessing.Pool over forked, local and remote workers.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "forkmill/async_result.h"
#include "forkmill/detail/submit.h"
#include "forkmill/result_range.h"
#include "forkmill/task.h"
#include "forkmill/tasks.h"

namespace forkmill {
inline namespace v0 {

class Dispatcher;
class Pool;

struct PoolOptions {
    int workers =
        0;  ///< Embedded: processes; 0: one per usable CPU. A daemon's pool has its number in YAML.
    std::string endpoint = {};  ///< "local:N", "ipc://…", "tcp://host:port", "unix://…". Empty:
                                ///< FORKMILL_ENDPOINT, else local.
    std::string server_key = {};  ///< tcp://: the broker's public key, if it encrypts. Empty:
                                  ///< FORKMILL_SERVER_KEY.
    std::string key_file = {};    ///< tcp://: our own key (`forkmill keygen`). Empty:
                                  ///< FORKMILL_KEY_FILE.
    Tasks tasks = {};             ///< Embedded: what the workers can run beside plain functions.
    std::optional<int> max_tasks_per_child =
        {};           ///< Embedded: a worker is replaced after so many tasks, ≥ 1. None: never.
    int threads = 1;  ///< Embedded: task threads of each worker.
    Initializer initializer = {};  ///< Embedded: runs in each worker before its first task.
    TaskOptions defaults = {};     ///< Of tasks that are submitted without options of their own.
    Dispatcher* dispatcher = nullptr;  ///< Where callbacks run; null: on one thread of the pool's.
};

struct WorkerInfo {
    std::string host;
    std::int32_t pid = 0;
    std::string state;  ///< idle, busy, draining, stopped, silent, …
    std::string pool;
    std::uint32_t slot = 0;
    std::uint64_t done = 0;  ///< Tasks it finished.
};

namespace detail {
FORKMILL_API const ClientPtr& client_of(const Pool& pool);
}

/// Forks the fork server while the program has one thread; the first line of main() in programs
/// that make threads before their first Pool. It lives as long as the program. What is bound,
/// loaded or captured later is unknown to embedded workers, function pointers excepted.
FORKMILL_API void init(int& argc, char**& argv);

/// Thread-safe, neither copyable nor movable. Its scope's end terminates it: unfinished tasks end
/// with Cancelled (detached ones live on in the daemon).
class FORKMILL_API Pool {
  public:
    explicit Pool(PoolOptions options = {});
    /// Throws UsageError for 0 or less, before anything is forked.
    template <std::integral Count>
    explicit Pool(Count workers) : Pool(with_workers(static_cast<long long>(workers))) {}
    explicit Pool(std::string_view endpoint) : Pool(with_endpoint(endpoint)) {}
    explicit Pool(const char* endpoint) : Pool(with_endpoint(endpoint)) {}
    explicit Pool(const std::string& endpoint) : Pool(with_endpoint(endpoint)) {}
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    /// Runs one task and waits for its result.
    template <class T, class... B>
    detail::ResultOf<T> apply(const T& task, B&&... arguments) {
        return apply_async(task, std::forward<B>(arguments)...).get();
    }
    /// Submits one task. An argument may be a pending AsyncResult of this pool: the task then waits
    /// for it without this program's doing.
    template <class T, class... B>
    AsyncResult<detail::ResultOf<T>> apply_async(const T& task, B&&... arguments) {
        return {client_,
                detail::submit_one<T>(*client_, submitter_of(task), std::forward<B>(arguments)...)};
    }

    /// Results in input order. Throws after every item has settled, with the error of the lowest
    /// failed index; what the input throws comes unwrapped.
    template <class T, std::ranges::input_range In>
    auto map(const T& task, In&& inputs, MapOptions options = {}) {
        return std::move(map_group<T, false>(task, inputs, options)).get();
    }
    template <class T, std::ranges::input_range In>
    auto starmap(const T& task, In&& inputs, MapOptions options = {}) {
        return std::move(map_group<T, true>(task, inputs, options)).get();
    }
    template <class T, std::ranges::input_range In>
    auto map_async(const T& task, In&& inputs, MapOptions options = {}) {
        return map_group<T, false>(task, inputs, options);
    }
    template <class T, std::ranges::input_range In>
    auto starmap_async(const T& task, In&& inputs, MapOptions options = {}) {
        return map_group<T, true>(task, inputs, options);
    }
    /// Lazily: the input is read options.window ahead of the results taken.
    template <class T, std::ranges::input_range In>
    ResultRange<detail::ResultOf<T>> imap(const T& task, In&& inputs, MapOptions options = {}) {
        return lazy<T>(task, std::forward<In>(inputs), options, true);
    }
    /// In completion order; index() beside.
    template <class T, std::ranges::input_range In>
    ResultRange<detail::ResultOf<T>> imap_unordered(const T& task,
                                                    In&& inputs,
                                                    MapOptions options = {}) {
        return lazy<T>(task, std::forward<In>(inputs), options, false);
    }

    /// The result of a detached task that any program submitted.
    template <class T>
    AsyncResult<T> attach(const TaskId& id) {
        return {client_, detail::attach(*client_, id)};
    }
    std::vector<WorkerInfo> workers() const;

    /// No more submits; what was accepted finishes.
    void close();
    /// Cancels everything of this session and wakes all who wait.
    void terminate();
    /// Waits until all is settled, callbacks included, and, embedded, all workers are gone. Throws
    /// UsageError before close() or terminate(), TimeoutError.
    void join(Duration timeout = forever);

    /// For the library: the pool behind a session that somebody else owns.
    explicit Pool(detail::ClientPtr borrowed);

  private:
    friend const detail::ClientPtr& detail::client_of(const Pool& pool);
    static PoolOptions with_workers(long long workers);
    static PoolOptions with_endpoint(std::string_view endpoint);
    template <class T>
    detail::Submitter submitter_of(const T& task) const {
        return detail::submitter_for(task, defaults_.get());
    }
    template <class T>
    using ListOf = std::conditional_t<
        std::is_void_v<detail::ResultOf<T>>,
        void,
        std::vector<
            std::conditional_t<std::is_void_v<detail::ResultOf<T>>, int, detail::ResultOf<T>>>>;

    template <class T, bool Star, class In>
    AsyncResult<ListOf<T>> map_group(const T& task, In& inputs, MapOptions options) {
        const detail::Submitter submitter = submitter_of(task);
        std::size_t expected = 0;
        if constexpr (std::ranges::sized_range<In>)
            expected = static_cast<std::size_t>(std::ranges::size(inputs));
        detail::GroupPtr group = detail::group_begin(client_, submitter.number, expected);
        try {
            std::size_t unsent = 0;
            for (auto&& item : inputs) {
                detail::submit_item<T, Star>(*group, submitter, item);
                if (options.chunksize != 0 && ++unsent == options.chunksize) {
                    detail::group_flush(*group);
                    unsent = 0;
                }
            }
            detail::group_flush(*group);
        } catch (...) {
            detail::group_cancel(*group, false);
            throw;
        }
        return {client_, std::move(group)};
    }

    template <class T, class In>
    ResultRange<detail::ResultOf<T>> lazy(const T& task,
                                          In&& inputs,
                                          MapOptions options,
                                          bool ordered) {
        const detail::Submitter submitter = submitter_of(task);
        const std::size_t chunk = options.chunksize != 0 ? options.chunksize : 64;
        const std::size_t window =
            options.window != 0 ? options.window : std::max<std::size_t>(1024, 4 * chunk);
        return {detail::group_begin(client_, submitter.number, window),
                detail::make_feed<T>(submitter, std::forward<In>(inputs)),
                window,
                chunk,
                ordered};
    }

    detail::ClientPtr client_;
    std::unique_ptr<detail::Defaults> defaults_;  ///< Null: none are set.
    bool borrowed_ = false;
};

}  // namespace v0
}  // namespace forkmill
