// SPDX-License-Identifier: Apache-2.0
// Client: one session as user threads see it: the pending table, the callbacks and the backend
// behind them.
//
// Invariants: (1) it outlives its Pool as long as a handle does, everything is settled by then; (2)
// after fork() the child may not use it: calls throw ForkedContextError, destructors do nothing
// (semantics.md 6); (3) Open → Closed → Ended, never back. Threading: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>

#include "core/base/lock_words.h"
#include "core/base/time.h"
#include "core/supervisor/forked_context.h"
#include "forkmill/detail/nested.h"
#include "forkmill/detail/seam.h"
#include "sdk/src/callback_queue.h"
#include "sdk/src/client_backend.h"
#include "sdk/src/object_port.h"
#include "sdk/src/pending.h"
#include "sdk/src/pending_io.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// Throws the exception of `code` as if a task had ended with it.
[[noreturn]] void throw_code(wire::Code code, std::string_view text, wire::Ran ran);

class Client : public std::enable_shared_from_this<Client> {
  public:
    /// `nested`: driven by a worker's I/O thread, which is woken by `wake`.
    Client(Dispatcher* dispatcher, std::uint64_t stream, bool nested, std::function<void()> wake);
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    PendingTable& table() { return parts_->table; }
    PendingIo& io() { return parts_->io; }
    ObjectPort& objects() { return parts_->objects; }
    JobQueue& jobs() { return parts_->callbacks; }
    CallbackQueue& callbacks() { return parts_->callbacks; }
    std::uint64_t stream() const { return stream_; }
    void set_backend(std::shared_ptr<Backend> behind);
    /// Null for a nested client, and once the client has ended.
    std::shared_ptr<Backend> backend() const;
    void set_liveness(Liveness liveness) { liveness_.store(liveness, std::memory_order_relaxed); }
    Liveness liveness() const { return liveness_.load(std::memory_order_relaxed); }
    std::uint64_t payload_max() const { return payload_max_.load(std::memory_order_relaxed); }
    /// A worker's own session, which tasks share.
    bool nested() const { return nested_; }
    void set_payload_max(std::uint64_t bytes) {
        payload_max_.store(bytes, std::memory_order_relaxed);
    }

    /// Set before anything is opened.
    void set_lock_words(std::span<base::LockWord> words) { lock_words_ = words; }
    std::span<base::LockWord> lock_words() const { return lock_words_; }

    bool forked() const { return context_.is_forked_child(); }
    void check_fork() const {
        if (forked()) throw_forked();
    }
    [[noreturn]] static void throw_forked();
    [[noreturn]] void throw_closed() const;
    /// Throws when a body of this size cannot be submitted just now.
    void check_submit(std::size_t bytes);
    /// The per-task parts, with what the running task passes on; null for a plain one.
    std::unique_ptr<Aux> make_aux(const SubmitExtra* extra);
    bool may_block() const { return !nested_ && !parts_->callbacks.on_this_thread(); }
    void start_callbacks() { parts_->callbacks.start(shared_from_this()); }

    Ticket submit(std::uint32_t template_number, Bytes arguments, const SubmitExtra* extra);
    Ticket attach(const TaskId& id);
    bool wait_slot(std::uint32_t slot, Duration timeout);
    /// Calls `slice(until)` until it is true or the time is over, with all that a wait must watch
    /// meanwhile.
    bool wait_until(Duration timeout, const std::function<bool(base::Time)>& slice);

    void close();
    void terminate() noexcept;
    bool join(Duration timeout);
    void destroy() noexcept;

  private:
    struct Parts {
        Parts(Dispatcher* dispatcher, std::function<void()> wake);
        CallbackQueue callbacks;
        PendingTable table;
        PendingIo io;
        ObjectPort objects;
        mutable std::mutex backend_mutex;
        std::shared_ptr<Backend> backend;
    };
    enum class Phase : std::uint8_t { Open, Closed, Terminated, Ended };

    bool watch(base::Time until, bool bounded);

    std::unique_ptr<Parts> parts_;
    const std::uint64_t stream_;
    const bool nested_;
    std::span<base::LockWord> lock_words_;
    const supervisor::ForkedContext context_;
    std::atomic<Phase> phase_{Phase::Open};
    std::atomic<Liveness> liveness_{Liveness::Live};
    std::atomic<std::uint64_t> payload_max_{wire::kPayloadMaxDefault};
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
