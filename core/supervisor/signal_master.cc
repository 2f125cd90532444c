// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/signal_master.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

int signal_of(std::string_view verb) {
    constexpr std::array<std::pair<std::string_view, int>, 6> kVerbs{{{"stop", SIGTERM},
                                                                      {"drain", SIGWINCH},
                                                                      {"quit", SIGQUIT},
                                                                      {"reload", SIGHUP},
                                                                      {"reopen", SIGUSR1},
                                                                      {"upgrade", SIGUSR2}}};
    for (const auto& [name, number] : kVerbs) {
        if (name == verb) return number;
    }
    return 0;
}

void hold_master_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2})
        ::sigaddset(&set, number);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
}

base::Status signal_master(const std::string& state_dir, int signal_number) {
    const std::string path = state_dir + "/master.pid";
    const OwnedFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file) return base::Failure{"nothing runs here: there is no " + path, errno};
    if (::flock(file.get(), LOCK_SH | LOCK_NB) == 0)
        return base::Failure{"nothing runs here: " + path + " is nobody's"};
    std::array<char, 32> text{};
    const ssize_t size = ::read(file.get(), text.data(), text.size());
    int pid = 0;
    if (size <= 0 || std::from_chars(text.data(), text.data() + size, pid).ec != std::errc{} ||
        pid <= 1)
        return base::Failure{path + " holds no process id"};
    if (::kill(pid, signal_number) != 0)
        return base::Failure{"cannot signal process " + std::to_string(pid), errno};
    return base::Done{};
}

}  // namespace forkmill::supervisor
