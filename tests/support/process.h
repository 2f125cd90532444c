// SPDX-License-Identifier: Apache-2.0
// Program: a process under test, and questions about processes that tests end with.
//
// Invariants: (1) a Program that a test forgot is killed and reaped with it; (2) nothing here finds
// processes by name, because other tests run the same programs. Threading: one owner.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace forkmill::test {

/// bin/NAME of this build.
std::filesystem::path built_program(const std::string& name);

struct ProgramOptions {
    std::vector<std::string> environment = {};  ///< "NAME=value", beside the test's own.
    std::filesystem::path output = {};          ///< Where stdout and stderr go; empty: the test's.
    std::filesystem::path directory = {};       ///< Working directory; empty: the test's.
};

class Program {
  public:
    /// Throws std::system_error when it cannot be started.
    explicit Program(std::vector<std::string> argv, const ProgramOptions& options = {});
    ~Program();
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    pid_t pid() const { return pid_; }
    void signal(int number) const;
    /// The exit code, or 128 + signal; nothing while it runs on at the end of `limit`.
    std::optional<int> wait(std::chrono::milliseconds limit);
    bool running() { return !wait(std::chrono::milliseconds{0}).has_value(); }

  private:
    pid_t pid_ = 0;
    std::optional<int> code_;
};

/// The kernel's letter (R, S, D, T, Z, …), or 0 when there is no such process.
char process_state(pid_t pid);

/// True while the process runs or is stopped; a zombie is gone.
bool process_alive(pid_t pid);

/// Children, grandchildren and so on, zombies included.
std::vector<pid_t> descendants_of(pid_t pid);

/// Makes this test program the parent of orphans, so that descendants_of(getpid()) sees all that a
/// daemon left behind.
void adopt_orphans();

/// Adopted orphans that ended are reaped; the living ones among this program's descendants are
/// returned.
std::vector<pid_t> leftovers();

/// Names of the open files of a process, as in /proc/PID/fd: for leak checks.
std::vector<std::string> open_files(pid_t pid);

}  // namespace forkmill::test
