// SPDX-License-Identifier: Apache-2.0
// Shared objects: what tasks and programs share through a pool's broker. This header holds what
// they have in common; queue.h, pipe.h, lock.h, sync.h, dict.h, namespace.h, list.h and value.h
// hold the types, shared.h all of them, docs/sharing.md when to use which.
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
// A call `x` that takes one message is `x_async(…).get()`: x_async gives an Operation, which can be
// awaited. What takes several messages, with code of the caller's between them or content beyond
// one of them, has no such form: update(), extend(), and modify() with what a List makes of it; nor
// has the making of a handle. What can be told at once (a handle that names nothing, a lock that is
// not held here, Busy) is thrown by x_async itself.
//
// An operation that waits ends with what it waits for, its timeout, or a typed error: ObjectLost
// (the object or the broker that had it is gone; the outcome is unknown), ObjectClosed, BrokerLost,
// Cancelled (the pool was terminated). A blocking call and get() end too when their task is
// cancelled (Cancelled), and when the broker is silent though a timeout was asked for
// (Disconnected); what is awaited or has callbacks goes on waiting.
#pragma once

#include <coroutine>
#include <cstddef>
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
template <class T>
class Operation;

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
    Operation<void> remove_async();
    friend bool operator==(const Object& a, const Object& b) { return a.shared_ == b.shared_; }

  protected:
    explicit Object(detail::SharedPtr shared) : shared_(std::move(shared)) {}
    static detail::SharedPtr open(Pool& pool,
                                  const ObjectOptions& options,
                                  detail::Opening opening);
    /// How many items, permits or waiting parties it has.
    Operation<std::size_t> count_async() const;

    detail::SharedPtr shared_;
};

/// One operation under way: wait for it, await it, or give it a callback. Move-only; belongs to one
/// thread at a time.
///
/// Dropping one that waits (put, get, join, lock, acquire, wait) takes it back: it is interrupted,
/// and what it was granted meanwhile is given back. One that does not wait has happened, or will,
/// in its place among what this process asked, unless the pool ends first; dropping it only means
/// that nobody is told: a refusal is lost, and so is what pop() took out. A coroutine that is
/// destroyed while it waits drops its operation; it is not resumed any more.
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
            // What the callbacks throw is not the operation's error: they are called outside.
            std::optional<std::conditional_t<std::is_void_v<T>, bool, T>> value;
            try {
                if constexpr (std::is_void_v<T>) {
                    finish(*ask);
                } else {
                    value.emplace(finish(*ask));
                }
            } catch (const Error& error) {
                return state->second(error);
            }
            if constexpr (std::is_void_v<T>) {
                state->first();
            } else {
                state->first(std::move(*value));
            }
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

}  // namespace v0
}  // namespace forkmill
