// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/last_will.h"

#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

namespace forkmill::supervisor {

namespace {

/// By its number, not as "my group": end_group() leaves it, and the next one is the parent's.
volatile pid_t group = 0;
timer_t patience_timer;
itimerspec patience{};
volatile sig_atomic_t patient = 0;

void on_parent_death(int, siginfo_t* info, void*) {
    // Whoever adopts us may die too: that does not make us wait again.
    if (info->si_code != SI_TIMER && patient != 0) {
        if (patient == 1) ::timer_settime(patience_timer, 0, &patience, nullptr);
        patient = 2;
        return;
    }
    if (group > 0) ::kill(-group, SIGKILL);
    ::kill(::getpid(), SIGKILL);
}

void on_broken_pipe(int) {}

}  // namespace

void take_group_along() {
    if (::getpgrp() != ::getpid()) return;
    group = ::getpid();
    struct sigaction action {};
    action.sa_sigaction = on_parent_death;
    // What a task is doing goes on, if it may.
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    ::sigfillset(&action.sa_mask);
    if (::sigaction(SIGRTMAX, &action, nullptr) == 0) ::prctl(PR_SET_PDEATHSIG, SIGRTMAX);
}

void outlive_parent(std::chrono::milliseconds limit) {
    sigevent ring{};
    ring.sigev_notify = SIGEV_SIGNAL;
    ring.sigev_signo = SIGRTMAX;
    if (limit.count() <= 0 || ::timer_create(CLOCK_MONOTONIC, &ring, &patience_timer) != 0) return;
    patience.it_value.tv_sec = limit.count() / 1000;
    patience.it_value.tv_nsec = limit.count() % 1000 * 1'000'000;
    // Nobody reads our stderr then, and a word on it must not end us. A handler, because programs
    // that a task starts would inherit that it is ignored.
    struct sigaction pipe {};
    if (::sigaction(SIGPIPE, nullptr, &pipe) == 0 && pipe.sa_handler == SIG_DFL) {
        pipe.sa_handler = on_broken_pipe;
        ::sigaction(SIGPIPE, &pipe, nullptr);
    }
    patient = 1;
}

void end_group() {
    const pid_t own = ::getpid();
    if (::getpgrp() != own) return;
    // Out of the group first, into the parent's, so that our exit code survives. That fails when
    // there is no parent any more, and nobody who asks for the code.
    ::setpgid(0, ::getpgid(::getppid()));
    ::kill(-own, SIGKILL);
}

}  // namespace forkmill::supervisor
