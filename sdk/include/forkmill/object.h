// SPDX-License-Identifier: Apache-2.0
// Shared objects: what tasks and programs share through a pool's broker. This header holds what
// they have in common; queue.h, pipe.h, lock.h, sync.h, dict.h, list.h and value.h hold the types,
// shared.h all of them, docs/sharing.md when to use which.
//
// A handle is made from a Pool (in a task: context().pool()), by name or without one:
//     forkmill::Queue<int> jobs{pool, {.name = "jobs", .maxsize = 3}};
//     forkmill::Lock lock{pool};
// Handles are cheap to copy; all copies in a process are one handle for the broker, which is closed
// with the last of them. An object ends with its last handle anywhere, unless it was made
// `persistent` or a kept value names it. Handles are arguments of tasks and values of other
// objects; what was passed as an argument must be kept until the task has settled or opened it.
// They are arguments of a Process, too, which keeps them itself. Thread safety: a handle is a
// value; what it does is thread-safe. Messages: an operation is one, its answer another, and those
// of several threads travel together.
//
// An operation that waits ends with what it waits for, its timeout, or a typed error: ObjectLost
// (the object or the broker that had it is gone; the outcome is unknown), ObjectClosed, BrokerLost,
// Disconnected (a timeout was asked for and the broker is silent), Cancelled (the task was, or the
// pool was terminated).
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "forkmill/detail/object_seam.h"
#include "forkmill/errors.h"
#include "forkmill/options.h"

namespace forkmill {
inline namespace v0 {

class Pool;

/// How an object is found or made. Those who open a name must agree on kind and type
/// (TypeMismatch); whatever else is asked for counts only where it is made.
struct ObjectOptions {
    std::string name = {};    ///< 1 … 128 bytes, one space for all clients of a broker. Empty: a
                              ///< new object that only its handles reach.
    bool create = true;       ///< Make it if there is none; else NotFound.
    bool exclusive = false;   ///< Conflict if there is one.
    bool persistent = false;  ///< It stays without handles until remove(); needs a name.
};

/// What all handles are.
class FORKMILL_API Object {
  public:
    /// Names no object; using it throws UsageError. Assign to it, or unpack into it.
    Object() = default;
    explicit operator bool() const { return shared_ != nullptr; }
    /// Unique among the objects that a broker ever had; 0 for none.
    std::uint64_t id() const { return shared_ ? detail::id_of(shared_) : 0; }
    /// Ends it for everybody now: who waits gets ObjectLost. One message.
    void remove();
    friend bool operator==(const Object& a, const Object& b) { return a.shared_ == b.shared_; }

  protected:
    explicit Object(detail::SharedPtr shared) : shared_(std::move(shared)) {}
    static detail::SharedPtr open(Pool& pool,
                                  const ObjectOptions& options,
                                  detail::Opening opening);
    std::int64_t info_value() const;

    detail::SharedPtr shared_;
};

/// One operation under way: wait for it, await it, or give it a callback. Dropping it before its
/// end takes it back: it is interrupted, and what it was granted meanwhile is given back.
/// Move-only; belongs to one thread at a time.
template <class T>
class [[nodiscard]] Operation {
  public:
    using Finish = T (*)(detail::Ask&);
    /// For the library.
    Operation(detail::AskPtr ask, Finish finish) : ask_(std::move(ask)), finish_(finish) {}
    Operation(Operation&& other) noexcept : ask_(std::move(other.ask_)), finish_(other.finish_) {}
    Operation& operator=(Operation&& other) noexcept {
        std::swap(ask_, other.ask_);
        std::swap(finish_, other.finish_);
        return *this;
    }
    ~Operation() {
        if (ask_) detail::abandon(ask_);
    }

    bool ready() const { return ask_ && detail::answered(*ask_); }
    /// Waits for its end. Once.
    T get() {
        if (!ask_) throw UsageError("the outcome of this operation was taken already");
        detail::await_answer(ask_);
        const detail::AskPtr ask = std::move(ask_);
        return finish_(*ask);
    }
    /// Exactly one of the two is called, on the pool's dispatcher or its callback thread.
    template <class OnValue, class OnError>
    void then(OnValue on_value, OnError on_error) && {
        auto state =
            std::make_shared<std::pair<OnValue, OnError>>(std::move(on_value), std::move(on_error));
        const detail::AskPtr ask = std::move(ask_);
        detail::then_answered(ask, [ask, finish = finish_, state] {
            try {
                if constexpr (std::is_void_v<T>) {
                    finish(*ask);
                } else {
                    std::optional<T> value;
                    value.emplace(finish(*ask));
                    return state->first(std::move(*value));
                }
            } catch (const Error& error) {
                return state->second(error);
            }
            if constexpr (std::is_void_v<T>) state->first();
        });
    }

    class Awaiter {
      public:
        explicit Awaiter(Operation operation) : operation_(std::move(operation)) {}
        bool await_ready() const { return operation_.ready(); }
        void await_suspend(std::coroutine_handle<> waiting) {
            const detail::AskPtr ask = operation_.ask_;  // The frame may be gone before we return.
            detail::then_answered(ask, [waiting] { waiting.resume(); });
        }
        T await_resume() { return operation_.get(); }

      private:
        Operation operation_;
    };
    /// Resumes on the pool's dispatcher, else on its callback thread.
    Awaiter operator co_await() && { return Awaiter{std::move(*this)}; }

  private:
    detail::AskPtr ask_;
    Finish finish_;
};

/// Keeps a watch: its callback runs until this is gone (one that runs just then runs to its end).
class FORKMILL_API Watch {
  public:
    explicit Watch(detail::WatchPtr state) : state_(std::move(state)) {}
    Watch(Watch&&) noexcept = default;
    Watch& operator=(Watch&& other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~Watch() {
        if (state_) detail::end_watch(state_);
    }

  private:
    detail::WatchPtr state_;
};

namespace detail {

/// Reads an answer of nothing.
FORKMILL_API void finish_done(Ask& ask);
/// False at the timeout.
FORKMILL_API bool finish_in_time(Ask& ask);

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
