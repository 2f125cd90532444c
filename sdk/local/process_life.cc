// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/process_life.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "core/supervisor/exit_codes.h"
#include "core/supervisor/last_words.h"
#include "core/supervisor/stack_dump.h"
#include "core/wire/codec.h"
#include "forkmill/detail/context_seam.h"
#include "sdk/local/birth_bytes.h"
#include "sdk/local/children.h"
#include "sdk/local/inheritance.h"
#include "sdk/local/self.h"
#include "worker/embedded.h"

namespace forkmill {
inline namespace v0 {
namespace local {

namespace {

constexpr int kThrew = 1;

struct Given {
    detail::ProcessPlan plan;
    Inheritance inheritance;
};

/// Descriptors of this process in the order of SpawnOrder::extra_fds: what it is told, what it has
/// by the same numbers as its parent, doors.
bool read_process(std::vector<supervisor::OwnedFd> came, Given& given) {
    if (came.empty()) return false;
    std::optional<BirthReader> reader = BirthReader::from_memfd(came.front().get());
    if (!reader) return false;
    detail::ProcessPlan& plan = given.plan;
    std::vector<std::byte> entry;
    reader->bytes(plan.name);
    reader->bytes(plan.path);
    reader->value(plan.daemon);
    reader->bytes(entry);
    reader->bytes(plan.arguments);
    std::uint64_t kept = 0;
    reader->value(kept);
    for (std::uint64_t i = 0; i < kept && reader->ok(); ++i)
        reader->value(plan.keep_fds.emplace_back());
    if (!reader->ok() || came.size() < 1 + plan.keep_fds.size()) return false;
    std::vector<detail::TaskEntry> entries = worker::unpack_task_entries(entry);
    if (entries.size() != 1) return false;
    plan.entry = std::move(entries.front());
    // Where they do not lie in the way of a number that something else is to have.
    int above = 0;
    for (const int number : plan.keep_fds) above = std::max(above, number + 1);
    std::vector<supervisor::OwnedFd> moved;
    for (std::size_t i = 1; i < came.size(); ++i)
        moved.emplace_back(::fcntl(came[i].get(), F_DUPFD_CLOEXEC, above));
    came.clear();
    for (std::size_t i = 0; i < plan.keep_fds.size(); ++i)
        if (!moved[i] || ::dup2(moved[i].get(), plan.keep_fds[i]) < 0) return false;
    moved.erase(moved.begin(), moved.begin() + static_cast<std::ptrdiff_t>(plan.keep_fds.size()));
    given.inheritance.read(*reader, std::move(moved));
    return reader->ok();
}

struct Life {
    std::atomic<pid_t> pid{0};
    std::atomic_flag telling;  ///< Another thread has thrown too.
    std::terminate_handler before = nullptr;
};
Life& life() {
    static auto* one = new Life;
    return *one;
}

/// What was thrown, and its causes, outermost first.
std::string describe(const std::exception_ptr& thrown) {
    const auto packed = detail::pack_exception(thrown, {});
    const auto info = wire::unpack_error(packed.body);
    if (!info.ok()) return "something";
    std::string text = info.value().type.empty() ? std::string{wire::name_of(info.value().code)}
                                                 : info.value().type;
    text += ": " + info.value().what;
    for (const auto& [type, what] : info.value().nested)
        text += "\n  caused by " + type + ": " + what;
    return text;
}

void tell(const std::exception_ptr& thrown) {
    const ProcessInfo info = current_info();
    const std::string text = "forkmill: " + info.name + " (pid " + std::to_string(info.pid) +
                             ") ends by an exception that nobody caught: " + describe(thrown) +
                             "\n" +
                             supervisor::demangle_stack(supervisor::own_stack("__cxa_throw"));
    std::fflush(stdout);
    std::fputs(text.c_str(), stderr);
    std::fflush(stderr);
}

/// std::terminate of a child: on the stack of who threw, if it was called for an exception.
[[noreturn]] void on_terminate() {
    const std::exception_ptr thrown = std::current_exception();
    // Somebody's fork of this process is none of ours.
    if (!thrown || life().pid.load() != ::getpid()) {
        if (life().before != nullptr) life().before();
        std::abort();
    }
    if (life().telling.test_and_set())
        for (;;) ::pause();  // The first to throw ends the process.
    try {
        tell(thrown);
    } catch (...) {
        std::fputs("forkmill: a process ends by an exception that cannot be told\n", stderr);
    }
    Children::end_all();
    supervisor::leave_forked(kThrew);
}

/// Calls `body` where unwinding ends. Further up there are frames of the fork server that let no
/// exception through: were they found, the stack would be gone before on_terminate() is called.
[[gnu::noinline]] void call_at_bottom(void (*body)(Given&), Given& given) {
#if defined(__x86_64__)
    asm volatile(".cfi_undefined rip");
#elif defined(__aarch64__)
    asm volatile(".cfi_undefined x30");
#endif
    body(given);
    asm volatile("" ::: "memory");  // Else it could be a jump, and this frame nowhere.
}

void run_function(Given& given) {
    const detail::ProcessPlan& plan = given.plan;
    given.inheritance.enter();
    const detail::Arguments arguments{plan.arguments, {}};
    detail::Buffer nothing;
    if (plan.entry.runner)
        plan.entry.runner->run(arguments, nothing);
    else
        plan.entry.thunk(plan.entry.function, arguments, nothing);
}

}  // namespace

base::Result<supervisor::OwnedFd> write_process(const detail::ProcessPlan& plan,
                                                const Bequest& bequest) {
    BirthWriter writer;
    writer.bytes(plan.name);
    writer.bytes(plan.path);
    writer.value(plan.daemon);
    writer.bytes(worker::pack_task_entries({plan.entry}));
    writer.bytes(plan.arguments);
    writer.value(static_cast<std::uint64_t>(plan.keep_fds.size()));
    for (const int fd : plan.keep_fds) writer.value(fd);
    bequest.write(writer);
    return writer.to_memfd();
}

int run_process(const supervisor::Birth& birth) {
    std::vector<supervisor::OwnedFd> came;
    for (const int fd : birth.extra_fds) came.emplace_back(fd);
    ::close(birth.channel_fd);
    auto* const given = new Given;  // Threads may look at it to the very end.
    if (!read_process(std::move(came), *given)) return supervisor::kExitSoftware;
    const detail::ProcessPlan* const plan = &given->plan;
    become({plan->name, 0, plan->daemon}, plan->path, birth.program);
    ::prctl(PR_SET_NAME, plan->name.c_str());
    supervisor::install_crash_dump();
    life().pid = ::getpid();
    life().telling.clear();
    // A child of a child has ours already.
    const std::terminate_handler before = std::set_terminate(on_terminate);
    if (before != on_terminate) life().before = before;
    call_at_bottom(run_function, *given);
    Children::end_all();
    // After the children: their sessions end with ours.
    given->inheritance.leave();
    return supervisor::kExitOk;
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
