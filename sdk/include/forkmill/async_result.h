// SPDX-License-Identifier: Apache-2.0
// AsyncResult: a handle to the eventual result of one task, or of one map.
#pragma once

#include <coroutine>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "forkmill/detail/outcome.h"
#include "forkmill/errors.h"
#include "forkmill/options.h"

namespace forkmill {
inline namespace v0 {

class Pool;
template <class T>
class AsyncResult;

namespace detail {

struct PendingAccess;

template <class T>
inline constexpr bool is_async = false;
template <class T>
inline constexpr bool is_async<AsyncResult<T>> = true;

}  // namespace detail

/// Obtained from Pool::apply_async, map_async, starmap_async or attach. Move-only; dropping it does
/// not cancel its task. It may outlive its Pool: it is settled by then. Thread safety: distinct
/// results are independent; one belongs to one thread at a time.
template <class T>
class [[nodiscard]] AsyncResult {
  public:
    AsyncResult(AsyncResult&& other) noexcept
        : client_(std::move(other.client_)),
          ticket_(std::exchange(other.ticket_, {})),
          group_(std::move(other.group_)),
          value_(std::move(other.value_)) {}
    AsyncResult& operator=(AsyncResult&& other) noexcept {
        if (this == &other) return *this;
        release();
        client_ = std::move(other.client_);
        ticket_ = std::exchange(other.ticket_, {});
        group_ = std::move(other.group_);
        value_ = std::move(other.value_);
        return *this;
    }
    ~AsyncResult() { release(); }

    /// Waits for the result. Throws what the task threw (as itself and as TaskError), WorkerLost,
    /// Cancelled, …; TimeoutError and Disconnected leave the handle usable, and get() may be
    /// repeated.
    const detail::Stored<T>& get(Duration timeout = forever) const& {
        if (!value_) value_.emplace(fetch(timeout));
        return *value_;
    }
    /// The same, handing the value out.
    T get(Duration timeout = forever) && {
        if (!value_) value_.emplace(fetch(timeout));
        detail::Stored<T> value = std::move(*value_);
        value_.reset();
        if constexpr (!std::is_void_v<T>) return value;
    }
    /// True once settled, false at the timeout.
    bool wait(Duration timeout = forever) const {
        try {
            return wait_or_throw(timeout);
        } catch (const Disconnected&) {
            return false;  // The timeout passed with a silent broker: get() tells, wait() only
                           // waits.
        }
    }
    bool ready() const {
        check();
        return group_ ? detail::group_wait_all(*group_, Duration::zero())
                      : detail::ready(*client_, ticket_);
    }
    /// Throws UsageError before the end.
    bool successful() const {
        if (!ready()) throw UsageError("successful() before the result is ready; wait() for it");
        if (!group_) return detail::view(*client_, ticket_).outcome == 0;
        for (std::size_t i = 0; i < detail::group_settled(*group_); ++i) {
            if (detail::group_view(*group_, i).outcome != 0) return false;
        }
        return true;
    }
    void cancel(Cancel how = Cancel::ask) {
        check();
        group_ ? detail::group_cancel(*group_, how == Cancel::kill)
               : detail::cancel(*client_, ticket_, how == Cancel::kill);
    }
    /// Exactly one of the two is called, once, in the submitting program, also when the result is
    /// there already: on_value(T) or on_error(const Error&).
    template <class OnValue, class OnError>
    void then(OnValue on_value, OnError on_error) {
        check();
        if (!group_)
            return detail::then(*client_,
                                ticket_,
                                std::make_unique<detail::CallbackPair<T, OnValue, OnError>>(
                                    std::move(on_value), std::move(on_error)));
        auto pair =
            std::make_shared<std::pair<OnValue, OnError>>(std::move(on_value), std::move(on_error));
        detail::group_then(*group_, [group = group_, pair] {
            std::optional<detail::Stored<T>> value;
            try {
                value.emplace(detail::collect<T>(*group));
            } catch (const Error& error) {
                return pair->second(error);
            }
            detail::CallbackPair<T, OnValue, OnError>::call(pair->first, *value);
        });
    }
    /// Called with what the task tells by context().progress().
    void on_progress(std::function<void(double fraction, std::string_view note)> handler) {
        check();
        if (group_) throw UsageError("a map tells no progress of its tasks");
        detail::on_progress(*client_, ticket_, std::move(handler));
    }
    TaskId id() const {
        check();
        return group_ ? detail::group_id(*group_, 0) : detail::id_of(*client_, ticket_);
    }

    class Awaiter {
      public:
        explicit Awaiter(AsyncResult result) : result_(std::move(result)) {}
        bool await_ready() const { return result_.ready(); }
        void await_suspend(std::coroutine_handle<> waiting) {
            in_frame_ = std::make_shared<char>();
            if (result_.group_)
                return detail::group_then(*result_.group_, detail::Resume{waiting, in_frame_});
            detail::then(*result_.client_,
                         result_.ticket_,
                         std::make_unique<detail::Resume>(waiting, in_frame_));
        }
        T await_resume() { return std::move(result_).get(); }

      private:
        AsyncResult result_;
        std::shared_ptr<void> in_frame_;
    };
    /// Resumes on the pool's dispatcher, else on its callback thread; never once the coroutine is
    /// destroyed, which is for that thread to do, or before the result is there.
    Awaiter operator co_await() && { return Awaiter{std::move(*this)}; }

  private:
    friend class Pool;
    friend struct detail::PendingAccess;
    AsyncResult(detail::ClientPtr client, detail::Ticket ticket)
        : client_(std::move(client)), ticket_(ticket) {}
    AsyncResult(detail::ClientPtr client, detail::GroupPtr group)
        : client_(std::move(client)), group_(std::move(group)) {}

    void check() const {
        if (!client_) throw UsageError("this result was moved from");
    }
    void release() noexcept {
        if (client_ && ticket_) detail::drop(*client_, ticket_);
    }
    bool wait_or_throw(Duration timeout) const {
        check();
        return group_ ? detail::group_wait_all(*group_, timeout)
                      : detail::wait(*client_, ticket_, timeout);
    }
    detail::Stored<T> fetch(Duration timeout) const {
        if (!wait_or_throw(timeout)) throw TimeoutError("the result is not there yet");
        if (group_) return detail::collect<T>(*group_);
        return detail::decode_result<T>(detail::view(*client_, ticket_));
    }

    detail::ClientPtr client_;
    detail::Ticket ticket_;
    detail::GroupPtr group_;
    mutable std::optional<detail::Stored<T>> value_;
};

}  // namespace v0
}  // namespace forkmill
