// SPDX-License-Identifier: Apache-2.0
// Spawn: how a child process comes to be: by fork and exec, or by fork alone (fork server).
//
// Invariants, for both: (1) the child has default signal dispositions, an empty mask and a process
// group of its own; (2) it keeps the descriptors it is given, at their numbers, beside 0–2, and no
// other; stdin is /dev/null; (3) it dies with its parent: PR_SET_PDEATHSIG, set and re-checked.
// That binds it to the parent's *thread*, so the parent has one thread; a change of the user clears
// it, so it is set again after that; (4) between fork and exec only async-signal-safe calls are
// made. Threading: the process's only thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/supervisor/fd.h"
#include "core/supervisor/privileges.h"

namespace forkmill::supervisor {

struct Program {
    std::vector<std::string> argv;         ///< argv[0] is a path.
    std::vector<std::string> environment;  ///< The whole of it.
    std::vector<int> keep_fds;
    int stderr_fd = -1;  ///< Becomes 2; −1: the parent's.
    Privileges privileges = {};
    int cgroup_fd = -1;  ///< A control group's directory, in which it is born; −1: the parent's.
};

struct Spawned {
    pid_t pid = -1;
    OwnedFd pidfd;
};

/// A child that cannot have its privileges or exec says so on stderr and exits 78 when trying again
/// is useless (no such file, no permission), else 75.
base::Result<Spawned> spawn_program(const Program& program);

/// Runs `body` in the child, which leaves by _exit with what it returns. `keep_fds` as above.
base::Result<Spawned> fork_child(const std::vector<int>& keep_fds,
                                 const std::function<int()>& body);

/// A fork into a control group, given by its directory. What glibc's fork() does beside, it does
/// for threads and stdio: the child may only exec, _exit, or fork() a whole process.
pid_t fork_into(int cgroup_fd);
/// Puts a process (0: this one) into a group, which costs milliseconds in which nobody on the host
/// forks. Returns the error's number, or 0.
int enter_cgroup(int cgroup_fd, pid_t process);

/// A child that somebody else forked and that this process, a subreaper, adopted.
base::Result<Spawned> adopt(pid_t child);

/// This process's environment with `additions`; a later NAME=value wins.
std::vector<std::string> environment_with(const std::vector<std::string>& additions);

/// The texts as execve(2) takes them, valid as long as they stay as they are.
std::vector<char*> pointers(std::vector<std::string>& texts);

/// Opens /dev/null on those of 0–2 that are closed, so that nothing of ours lands there.
base::Status fill_standard_fds();

/// What is buffered would be written twice, by a program and by each child that flushes it.
void flush_output();

/// Default dispositions for every signal and an empty mask, as a child needs them.
void reset_signals();

/// SIGKILL for a child and all that it started, as far as they stayed in its group. REQUIRES: the
/// child is not reaped yet, so the number is still its own.
void kill_group(pid_t child);
/// One signal for one child. REQUIRES: as above.
void send_signal(pid_t child, int signo);

}  // namespace forkmill::supervisor
