// SPDX-License-Identifier: Apache-2.0
// From a packed ErrorInfo to the exception a caller catches, and back from what a task threw.
#include "forkmill/errors.h"

#include <cxxabi.h>
#include <signal.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>

#include "core/wire/codec.h"
#include "forkmill/detail/context_seam.h"
#include "forkmill/detail/seam.h"

namespace forkmill {
inline namespace v0 {

Error::~Error() = default;
PlainError::PlainError(const std::string& text, Ran ran, bool retryable)
    : std::runtime_error(text), Error(ran, retryable) {}
PlainError::~PlainError() = default;
const char* PlainError::what() const noexcept {
    return std::runtime_error::what();
}
UsageError::~UsageError() = default;
TimeoutError::~TimeoutError() = default;
PackError::~PackError() = default;
Rejected::~Rejected() = default;
TooBig::~TooBig() = default;
Busy::~Busy() = default;
Disconnected::~Disconnected() = default;
BrokerLost::~BrokerLost() = default;
TaskTimeout::~TaskTimeout() = default;
Cancelled::~Cancelled() = default;
Expired::~Expired() = default;
ResultExpired::~ResultExpired() = default;
PoolBroken::~PoolBroken() = default;
WouldDeadlock::~WouldDeadlock() = default;
ForkedContextError::~ForkedContextError() = default;
ProtocolError::~ProtocolError() = default;
ConfigError::~ConfigError() = default;
ObjectLost::~ObjectLost() = default;
ObjectClosed::~ObjectClosed() = default;
TypeMismatch::~TypeMismatch() = default;
NotFound::~NotFound() = default;
Conflict::~Conflict() = default;
OutOfRange::~OutOfRange() = default;
NotOwner::~NotOwner() = default;
LockLost::~LockLost() = default;
BrokenBarrier::~BrokenBarrier() = default;
QueueFull::~QueueFull() = default;
QueueEmpty::~QueueEmpty() = default;
WorkerLost::~WorkerLost() = default;
TaskError::~TaskError() = default;
TaskFailure::~TaskFailure() = default;
NoRetry::~NoRetry() = default;

namespace detail {

namespace {

Ran ran_of(const wire::ErrorInfo& info) {
    return static_cast<Ran>(info.ran);
}

std::string sentence(const wire::ErrorInfo& info) {
    std::string text = info.what.empty() ? std::string{wire::name_of(info.code)} : info.what;
    if (!info.task.empty() && info.code != wire::Code::TaskThrew)
        text = "task " + info.task + ": " + text;
    return text;
}

std::string lost_sentence(const wire::ErrorInfo& info) {
    std::string text = sentence(info);
    if (info.cause == "signal" || info.cause == "killed") {
        const char* name = ::sigabbrev_np(info.number);
        if (name != nullptr && text.find(std::string{"SIG"} + name) == std::string::npos)
            text += std::string{" (SIG"} + name + ")";
    }
    return text;
}

TaskError::Details details_of(const wire::ErrorInfo& info) {
    TaskError::Details details;
    details.text = info.what;
    if (!info.host.empty())
        details.text += " [" + info.type + " in " + info.task + " on " + info.host + ":" +
                        std::to_string(info.pid) + ", attempt " + std::to_string(info.attempt) +
                        "]";
    for (const auto& [type, what] : info.nested)
        details.text += "\n  caused by " + type + ": " + what;
    details.type = info.type;
    details.origin = {info.host, info.pid, info.task, static_cast<int>(info.attempt)};
    details.nested = info.nested;
    details.detail = info.detail;
    details.number = info.number;
    return details;
}

template <class E>
[[noreturn]] void throw_remote(const wire::ErrorInfo& info) {
    throw Remote<E>{details_of(info), E{info.what}};
}

[[noreturn]] void throw_remote_system(const wire::ErrorInfo& info) {
    // Only the two categories of the standard mean the same number everywhere.
    const std::error_category& category =
        info.detail == "system" ? std::system_category() : std::generic_category();
    throw Remote<std::system_error>{details_of(info),
                                    std::system_error{info.number, category, info.what}};
}

/// Crosses from Contract::invoke to pack_exception; never leaves the worker.
struct ResultNotPacked : std::runtime_error {
    ResultNotPacked(std::string thrown_type, const std::string& text)
        : std::runtime_error(text), type(std::move(thrown_type)) {}
    std::string type;
};

struct Row {
    std::string_view type;
    void (*thrower)(const wire::ErrorInfo&);
};

// The one place that knows which exceptions arrive as themselves.
constexpr Row kStandard[] = {
    {"std::runtime_error", [](const wire::ErrorInfo& i) { throw_remote<std::runtime_error>(i); }},
    {"std::logic_error", [](const wire::ErrorInfo& i) { throw_remote<std::logic_error>(i); }},
    {"std::out_of_range", [](const wire::ErrorInfo& i) { throw_remote<std::out_of_range>(i); }},
    {"std::invalid_argument",
     [](const wire::ErrorInfo& i) { throw_remote<std::invalid_argument>(i); }},
    {"std::length_error", [](const wire::ErrorInfo& i) { throw_remote<std::length_error>(i); }},
    {"std::domain_error", [](const wire::ErrorInfo& i) { throw_remote<std::domain_error>(i); }},
    {"std::range_error", [](const wire::ErrorInfo& i) { throw_remote<std::range_error>(i); }},
    {"std::overflow_error", [](const wire::ErrorInfo& i) { throw_remote<std::overflow_error>(i); }},
    {"std::underflow_error",
     [](const wire::ErrorInfo& i) { throw_remote<std::underflow_error>(i); }},
    {"std::bad_alloc",
     [](const wire::ErrorInfo& i) {
         throw Remote<std::bad_alloc>{details_of(i), std::bad_alloc{}};
     }},
    {"std::system_error", throw_remote_system},
};

[[noreturn]] void throw_task_error(const wire::ErrorInfo& info) {
    for (const Row& row : kStandard) {
        if (row.type == info.type) row.thrower(info);
    }
    throw_remote<std::runtime_error>(info);
}

[[noreturn]] void throw_info(const wire::ErrorInfo& info) {
    const std::string text = sentence(info);
    const Ran ran = ran_of(info);
    const bool again = wire::info_of(info.code).retryable;
    using wire::Code;
    switch (info.code) {
        case Code::TaskThrew:
        case Code::ResultEncode:
            throw_task_error(info);
        case Code::TaskTimeout:
            throw TaskTimeout{text, ran};
        case Code::TaskCancelled:
            throw Cancelled{text, ran};
        case Code::TaskExpired:
            throw Expired{text, ran};
        case Code::WorkerLost:
            throw WorkerLost{lost_sentence(info), ran, info.cause, info.number, info.detail};
        case Code::DependencyFailed:
            throw_task_error(info);
        case Code::ResultExpired:
            throw ResultExpired{text};
        case Code::PoolBroken:
        case Code::InitializerFailed:
            throw PoolBroken{text, ran};
        case Code::TooBig:
        case Code::ResultTooBig:
            throw TooBig{text, ran};
        case Code::Busy:
        case Code::BrokerFull:
        case Code::Draining:
            throw Busy{text, ran, again};
        case Code::Disconnected:
            throw Disconnected{text, ran};
        case Code::BrokerLost:
        case Code::SessionExpired:
        case Code::SessionFenced:
            throw BrokerLost{text, ran};
        case Code::WouldDeadlock:
            throw WouldDeadlock{text, ran};
        case Code::BadArguments:
            throw PackError{text, ran};
        default:
            throw Rejected{text, ran, again};
    }
}

std::string demangled(const char* name) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> text{
        abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free};
    std::string type = status == 0 ? text.get() : name;
    // Debian's ABI tags are no part of what the user wrote.
    for (const std::string_view tag : {"[abi:cxx11]", "__cxx11::"}) {
        for (std::size_t at = 0; (at = type.find(tag)) != std::string::npos;)
            type.erase(at, tag.size());
    }
    return type;
}

/// Type, text and, where there is one, number of what is being handled.
void describe_current(wire::ErrorInfo& info) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    info.type = type == nullptr ? "unknown" : demangled(type->name());
    try {
        throw;
    } catch (const TaskFailure& failure) {
        info.what = failure.what();
        info.number = failure.code;
        info.detail = failure.payload;
    } catch (const std::system_error& error) {
        // Its what() ends with the category's message, which the catcher's own system_error adds
        // again.
        info.what = error.what();
        const std::string message = ": " + error.code().message();
        if (info.what.ends_with(message)) info.what.resize(info.what.size() - message.size());
        info.number = error.code().value();
        info.detail = error.code().category().name();
        info.type = "std::system_error";
    } catch (const TaskError& error) {
        info.what = error.what();  // Of a nested task: it keeps the type it had there.
        info.type = error.type();
    } catch (const std::exception& error) {
        info.what = error.what();
    } catch (...) {
        info.what = "a " + info.type + ", which is no std::exception, was thrown";
    }
}

void describe_nested(const std::exception& error, wire::ErrorInfo& info) {
    try {
        std::rethrow_if_nested(error);
    } catch (const std::exception& inner) {
        info.nested.emplace_back(demangled(typeid(inner).name()), inner.what());
        if (info.nested.size() < wire::kNestedMax) describe_nested(inner, info);
    } catch (...) {
        info.nested.emplace_back("unknown", "something that is no std::exception");
    }
}

}  // namespace

void throw_result_not_packed() {
    wire::ErrorInfo info;
    describe_current(info);
    throw ResultNotPacked{info.type, "the result cannot be packed: " + info.what};
}

void throw_error(const SettledView& view) {
    auto info = wire::unpack_error(view.body);
    if (!info.ok())
        throw ProtocolError{"an outcome without a readable error: " + info.failure().text};
    if (info.value().code == wire::Code::None)
        info.value().code = view.outcome == static_cast<std::uint8_t>(wire::Outcome::Cancelled)
                                ? wire::Code::TaskCancelled
                                : wire::Code::TaskThrew;
    throw_info(info.value());
}

std::exception_ptr error_of(const SettledView& view) {
    try {
        throw_error(view);
    } catch (...) {
        return std::current_exception();
    }
}

PackedException pack_exception(const std::exception_ptr& thrown, const ThrownBy& by) {
    wire::ErrorInfo info;
    info.code = wire::Code::TaskThrew;
    info.ran = wire::Ran::Yes;
    info.host = by.host;
    info.pid = by.pid;
    info.task = by.task;
    info.attempt = static_cast<std::uint32_t>(by.attempt);
    PackedException packed;
    packed.outcome = static_cast<std::uint8_t>(wire::Outcome::Failed);
    try {
        std::rethrow_exception(thrown);
    } catch (const Cancelled& cancelled) {
        info.code = wire::Code::TaskCancelled;
        info.what = cancelled.what();
        packed.outcome = static_cast<std::uint8_t>(wire::Outcome::Cancelled);
    } catch (const ResultNotPacked& error) {
        info.code = wire::Code::ResultEncode;
        info.type = error.type;
        info.what = error.what();
    } catch (const PackError& error) {
        // Arguments that do not fit come before the code ran; what a task itself threw of this type
        // is no better.
        info.code = wire::Code::BadArguments;
        info.type = "forkmill::PackError";
        info.what = error.what();
        info.ran = wire::Ran::No;
        info.no_retry = true;
    } catch (const NoRetry& error) {
        describe_current(info);
        info.type = "std::runtime_error";
        info.no_retry = true;
    } catch (const std::exception& error) {
        describe_current(info);
        describe_nested(error, info);
    } catch (...) {
        describe_current(info);
    }
    packed.body = wire::pack_error(info);
    return packed;
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
