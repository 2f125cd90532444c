// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/last_will.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace forkmill::supervisor {

namespace {

/// By its number, not as "my group": end_group() leaves it, and the next one is the parent's.
volatile pid_t group = 0;

void on_parent_death(int) {
    if (group > 0) ::kill(-group, SIGKILL);
    ::kill(::getpid(), SIGKILL);
}

}  // namespace

void take_group_along() {
    if (::getpgrp() != ::getpid()) return;
    group = ::getpid();
    struct sigaction action {};
    action.sa_handler = on_parent_death;
    ::sigfillset(&action.sa_mask);
    if (::sigaction(SIGRTMAX, &action, nullptr) == 0) ::prctl(PR_SET_PDEATHSIG, SIGRTMAX);
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
