// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

namespace forkmill::supervisor {

namespace {

constexpr std::array<SignalRow, 10> kSignals{{
    {SIGCHLD, "SIGCHLD", "", Order::Reap, Order::Reap},
    {SIGTERM, "SIGTERM", "stop", Order::Stop, Order::StopNow},
    {SIGINT, "SIGINT", "", Order::Stop, Order::StopNow},
    {SIGQUIT, "SIGQUIT", "quit", Order::Quit, Order::Stop},
    {SIGHUP, "SIGHUP", "reload", Order::Reload, Order::Reload},
    {SIGUSR1, "SIGUSR1", "reopen", Order::Reopen, Order::Reopen},
    {SIGUSR2, "SIGUSR2", "upgrade", Order::Upgrade, Order::Upgrade},
    {SIGWINCH, "SIGWINCH", "drain", Order::DrainWorkers, Order::DrainWorkers},
    {SIGTTIN, "SIGTTIN", "", Order::AddWorker, Order::AddWorker},
    {SIGTTOU, "SIGTTOU", "", Order::RemoveWorker, Order::RemoveWorker},
}};

template <class Match>
const SignalRow* find_row(Match matches) {
    const auto row = std::find_if(kSignals.begin(), kSignals.end(), matches);
    return row == kSignals.end() ? nullptr : &*row;
}

}  // namespace

std::span<const SignalRow> signal_table() {
    return kSignals;
}

const SignalRow* find_signal(int signo) {
    return find_row([&](const SignalRow& row) { return row.signo == signo; });
}

const SignalRow* find_verb(std::string_view verb) {
    if (verb.empty()) return nullptr;
    return find_row([&](const SignalRow& row) { return row.verb == verb; });
}

base::Result<SignalFd> SignalFd::open() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const SignalRow& row : kSignals) ::sigaddset(&set, row.signo);
    struct sigaction action {};
    // Whoever started us may have left SIGCHLD ignored: then the kernel would reap for us.
    action.sa_handler = SIG_DFL;
    ::sigaction(SIGCHLD, &action, nullptr);
    action.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &action, nullptr);
    if (::sigprocmask(SIG_SETMASK, &set, nullptr) != 0)
        return base::system_failure("cannot block signals");
    OwnedFd fd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (!fd) return base::system_failure("cannot open a signalfd");
    return SignalFd{std::move(fd)};
}

std::optional<int> SignalFd::next() const {
    signalfd_siginfo info{};
    ssize_t size = 0;
    do {
        size = ::read(fd_.get(), &info, sizeof info);
    } while (size < 0 && errno == EINTR);
    if (size != sizeof info) return std::nullopt;
    return static_cast<int>(info.ssi_signo);
}

}  // namespace forkmill::supervisor
