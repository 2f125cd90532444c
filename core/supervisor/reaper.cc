// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/reaper.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>

#include "core/supervisor/fd.h"
#include "core/supervisor/spawn.h"

namespace forkmill::supervisor {

namespace {

/// waitid(2) as the kernel has it: with what the child used, which the C library leaves out.
int wait_id(idtype_t type, id_t id, siginfo_t& info, int options, rusage* usage = nullptr) {
    long result = 0;
    info = siginfo_t{};
    do {
        result = ::syscall(SYS_waitid, type, id, &info, options | WNOHANG, usage);
    } while (result != 0 && errno == EINTR);
    return static_cast<int>(result);
}

/// The counter of /proc/vmstat; 0 when there is none.
std::uint64_t oom_kills() {
    const OwnedFd file{::open("/proc/vmstat", O_RDONLY | O_CLOEXEC)};
    std::array<char, 32 * 1024> bytes{};
    std::size_t size = 0;
    while (file && size < bytes.size()) {
        const ssize_t more = ::read(file.get(), bytes.data() + size, bytes.size() - size);
        if (more <= 0) break;
        size += static_cast<std::size_t>(more);
    }
    constexpr std::string_view name = "\noom_kill ";
    const std::string_view text{bytes.data(), size};
    const std::size_t at = text.find(name);
    std::uint64_t kills = 0;
    if (at != std::string_view::npos)
        std::from_chars(text.data() + at + name.size(), text.data() + size, kills);
    return kills;
}

}  // namespace

std::optional<ChildEvent> next_child_event(const std::function<bool(pid_t)>& leads_group) {
    constexpr int kAll = WEXITED | WSTOPPED | WCONTINUED;
    siginfo_t info{};
    // Looked at first, taken second: in between a dead child's number is still its own. A child may
    // change once more in between; then what was taken is what counts.
    while (wait_id(P_ALL, 0, info, kAll | WNOWAIT) == 0 && info.si_pid != 0) {
        const pid_t pid = info.si_pid;
        const bool dead = info.si_code != CLD_STOPPED && info.si_code != CLD_CONTINUED &&
                          info.si_code != CLD_TRAPPED;
        if (dead && leads_group(pid)) kill_group(pid);
        rusage usage{};
        const int taken = dead ? WEXITED : WSTOPPED | WCONTINUED;
        if (wait_id(P_PID, static_cast<id_t>(pid), info, taken, &usage) != 0 || info.si_pid == 0)
            continue;
        ChildEvent event{pid, ChildEvent::Kind::Exited, info.si_status};
        event.core_dumped = info.si_code == CLD_DUMPED;
        event.rss_peak = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;  // It counts KiB.
        if (info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED)
            event.kind = ChildEvent::Kind::Signaled;
        else if (info.si_code == CLD_STOPPED || info.si_code == CLD_TRAPPED)
            event.kind = ChildEvent::Kind::Stopped;
        else if (info.si_code == CLD_CONTINUED)
            event.kind = ChildEvent::Kind::Continued;
        return event;
    }
    return std::nullopt;
}

void become_subreaper() {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

OomWatch::OomWatch() : seen_(oom_kills()) {}

bool OomWatch::has_struck() {
    const std::uint64_t before = seen_;
    seen_ = oom_kills();
    return seen_ > before;
}

Cause cause_of(const ChildEvent& death, Cause doom, bool signal_was_ours, bool oom) {
    const bool exited = death.kind == ChildEvent::Kind::Exited;
    if (doom != Cause::Unknown && (exited || signal_was_ours)) return doom;
    if (exited) return Cause::Exit;
    return death.detail == SIGKILL && oom ? Cause::Oom : Cause::Signal;
}

}  // namespace forkmill::supervisor
