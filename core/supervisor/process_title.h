// SPDX-License-Identifier: Apache-2.0
// Process title: what `ps` and `top` show of this process, so that an operator sees what it does:
//
//     forkmilld: master /etc/forkmill/broker.yaml
//     forkmilld: router, 12 peers
//     forkmill-worker: default/3 running sim.step
//
// The title is written where the kernel put the arguments and the environment. Invariants: (1) both
// are copied away before anything is overwritten, and argv's and the environment's pointers lead to
// the copies, so getenv, setenv and unsetenv go on working; (2) nothing is written outside that
// area, which /proc/self/stat names: a title that does not fit is cut; (3) without a successful
// init_process_title() nothing is ever written. /proc/PID/environ is of no use any more once a
// title was set. Threading: one owner, the main thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace forkmill::supervisor {

/// For the start of main(): remembers the command line and moves the environment. REQUIRES: no
/// other thread, and nobody holds on to a pointer into argv or out of getenv (argv itself is set
/// right). A later call does nothing; so does one whose argv[0] is not the kernel's.
void init_process_title(int argc, char** argv);

/// Shows `title` in place of the command line, and `name` (at most 15 bytes; empty: the title up to
/// its first colon) as the name of the thread that calls. Control characters become question
/// marks, since a task's name may be a peer's word. Cheap: at most one system call, and none while
/// the name stays the same.
void set_process_title(std::string_view title, std::string_view name = {});

/// The words that this process was started with, whatever the title says: as init_process_title()
/// found them, or else /proc/self/cmdline; empty when that cannot be read.
std::vector<std::string> original_command_line();

}  // namespace forkmill::supervisor
