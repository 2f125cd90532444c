// SPDX-License-Identifier: Apache-2.0
// The errors that leave Forkmill, one class per thing a caller does differently.
//
// Every one is a forkmill::Error and, by exactly one path, a std::exception. What a task threw
// arrives as itself *and* as TaskError: Remote<std::out_of_range> is both. ran() and retryable()
// answer what a caller asks next.
#pragma once

#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <typeinfo>
#include <utility>
#include <vector>

#include "forkmill/detail/export.h"

namespace forkmill {
inline namespace v0 {

/// Whether the task's code may have run when the error was made.
enum class Ran : std::uint8_t { no, maybe, yes };

/// Root of all. Not itself a std::exception, so that Remote<E> has only one; what is thrown always
/// is.
class FORKMILL_API Error {
  public:
    virtual ~Error();
    virtual const char* what() const noexcept = 0;
    Ran ran() const noexcept { return ran_; }
    /// Trying the same again later is sensible.
    bool retryable() const noexcept { return retryable_; }

  protected:
    explicit Error(Ran ran, bool retryable) : ran_(ran), retryable_(retryable) {}
    Error(const Error&) = default;
    Error& operator=(const Error&) = default;

  private:
    Ran ran_;
    bool retryable_;
};

/// What most errors are: a text.
class FORKMILL_API PlainError : public std::runtime_error, public Error {
  public:
    explicit PlainError(const std::string& text, Ran ran = Ran::no, bool retryable = false);
    ~PlainError() override;
    const char* what() const noexcept override;
};

#define FORKMILL_ERROR(Name, ran, retryable)                                          \
    class FORKMILL_API Name : public PlainError {                                     \
      public:                                                                         \
        explicit Name(const std::string& text, Ran did = ran, bool again = retryable) \
            : PlainError(text, did, again) {}                                         \
        ~Name() override;                                                             \
    }

/// The call itself is wrong: a closed pool, a bad option, join() before close().
FORKMILL_ERROR(UsageError, Ran::no, false);
/// A wait reached its timeout; the result stays usable.
FORKMILL_ERROR(TimeoutError, Ran::maybe, true);
/// Arguments or a result that cannot be packed, or bytes that are not what the task takes.
FORKMILL_ERROR(PackError, Ran::no, false);
/// The broker or the worker would not run it: no such queue, another signature, another build, …;
/// the text says which.
FORKMILL_ERROR(Rejected, Ran::no, false);
/// Arguments or result above the broker's limits.payload.
FORKMILL_ERROR(TooBig, Ran::no, false);
/// At a bound just now.
FORKMILL_ERROR(Busy, Ran::no, true);
/// The broker is silent; the result is still pending and may come.
FORKMILL_ERROR(Disconnected, Ran::maybe, true);
/// The broker, or our session with it, is gone; the outcome is unknown.
FORKMILL_ERROR(BrokerLost, Ran::maybe, false);
/// The task ran past its timeout.
FORKMILL_ERROR(TaskTimeout, Ran::yes, false);
/// The task was cancelled, by its owner or with its pool.
FORKMILL_ERROR(Cancelled, Ran::maybe, false);
/// Its deadline passed before it began.
FORKMILL_ERROR(Expired, Ran::no, false);
/// The outcome is known, its body was dropped after result_ttl.
FORKMILL_ERROR(ResultExpired, Ran::yes, false);
/// No worker of the pool can start; the text holds the initializer's error.
FORKMILL_ERROR(PoolBroken, Ran::no, false);
/// Waiting here could never end: too many tasks of this worker wait already.
FORKMILL_ERROR(WouldDeadlock, Ran::no, false);
/// The object belongs to the process that forked this one.
FORKMILL_ERROR(ForkedContextError, Ran::no, false);
/// A peer broke the protocol.
FORKMILL_ERROR(ProtocolError, Ran::maybe, false);
/// A config that cannot work.
FORKMILL_ERROR(ConfigError, Ran::no, false);

// Of shared objects (object.h); ran() tells whether the operation may have had its effect.
/// The object, or the broker that had it, is gone.
FORKMILL_ERROR(ObjectLost, Ran::maybe, false);
/// Its queue was shut, or the other end of the pipe is gone; or the handle was closed.
FORKMILL_ERROR(ObjectClosed, Ran::no, false);
/// There is something of that name, of another kind or type; what it holds is kept.
FORKMILL_ERROR(TypeMismatch, Ran::no, false);
/// The name, key or value is not there.
FORKMILL_ERROR(NotFound, Ran::no, false);
/// An exclusive name is taken.
FORKMILL_ERROR(Conflict, Ran::no, false);
/// No item has that index.
FORKMILL_ERROR(OutOfRange, Ran::no, false);
/// Released by one who does not own it.
FORKMILL_ERROR(NotOwner, Ran::no, false);
/// It was owned and is not any more: another may have had it meanwhile.
FORKMILL_ERROR(LockLost, Ran::no, false);
/// The barrier is broken until its reset().
FORKMILL_ERROR(BrokenBarrier, Ran::yes, false);
#undef FORKMILL_ERROR

/// A put reached its timeout.
class FORKMILL_API QueueFull : public TimeoutError {
  public:
    explicit QueueFull(const std::string& text) : TimeoutError(text, Ran::no) {}
    ~QueueFull() override;
};
/// A get reached its timeout.
class FORKMILL_API QueueEmpty : public TimeoutError {
  public:
    explicit QueueEmpty(const std::string& text) : TimeoutError(text, Ran::no) {}
    ~QueueEmpty() override;
};

/// Its worker died, crash_limit times or once too often for at_most_once.
class FORKMILL_API WorkerLost : public PlainError {
  public:
    WorkerLost(const std::string& text, Ran ran, std::string cause, int number, std::string report)
        : PlainError(text, ran, false),
          cause_(std::move(cause)),
          number_(number),
          report_(std::move(report)) {}
    ~WorkerLost() override;
    /// exit, signal, oom, …
    const std::string& cause() const { return cause_; }
    /// Exit code or signal number.
    int number() const { return number_; }
    /// What the dead workers last wrote to stderr.
    const std::string& report() const { return report_; }

  private:
    std::string cause_;
    int number_;
    std::string report_;
};

/// Where a task's exception was thrown.
struct Origin {
    std::string host;
    std::int32_t pid = 0;
    std::string task;
    int attempt = 0;
};

/// A task's code threw. Thrown as Remote<E> for standard exceptions E.
class FORKMILL_API TaskError : public Error {
  public:
    struct Details {
        std::string text;
        std::string type;
        Origin origin;
        std::vector<std::pair<std::string, std::string>> nested;
        std::string detail;
        int number = 0;
    };
    ~TaskError() override;
    const char* what() const noexcept override { return details_.text.c_str(); }
    /// Demangled type of what was thrown, as in "std::out_of_range".
    const std::string& type() const { return details_.type; }
    const Origin& origin() const { return details_.origin; }
    /// (type, what) of nested causes, outermost first.
    const std::vector<std::pair<std::string, std::string>>& nested() const {
        return details_.nested;
    }
    /// Payload and code of a TaskFailure.
    const std::string& detail() const { return details_.detail; }
    int code() const { return details_.number; }

  protected:
    explicit TaskError(Details details) : Error(Ran::yes, false), details_(std::move(details)) {}

  private:
    Details details_;
};

/// A task's exception as itself and as TaskError.
template <class E>
class FORKMILL_API Remote final : public E, public TaskError {
  public:
    explicit Remote(Details details, E self) : E(std::move(self)), TaskError(std::move(details)) {}
    const char* what() const noexcept override { return TaskError::what(); }
};

/// Thrown by a task to tell its submitter more than a text: TaskError::code() and detail().
class FORKMILL_API TaskFailure : public std::runtime_error {
  public:
    explicit TaskFailure(int failure_code,
                         std::string failure_payload = {},
                         const std::string& text = "task failure")
        : std::runtime_error(text), code(failure_code), payload(std::move(failure_payload)) {}
    ~TaskFailure() override;
    int code;
    std::string payload;
};

/// Thrown by a task: like a runtime_error, and no retry is to be tried.
class FORKMILL_API NoRetry : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
    ~NoRetry() override;
};

}  // namespace v0
}  // namespace forkmill
