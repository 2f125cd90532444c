// SPDX-License-Identifier: Apache-2.0
// How `forkmill` ends: its exit codes, and the one exception that carries them to main().
//
// Invariants: (1) the numbers are part of the command's contract and follow sysexits.h and
// timeout(1). Threading: values.
#pragma once

#include <stdexcept>
#include <string>

namespace forkmill::cli {

enum ExitCode : int {
    kOk = 0,
    kTaskFailed = 1,
    kUsage = 64,
    kUnavailable = 69,
    kCannotCreate = 73,
    kTryAgain = 75,
    kTimeout = 124,
};

/// Ends the command with `code`; the text goes to stderr.
class Failure : public std::runtime_error {
  public:
    Failure(ExitCode exit_code, const std::string& text)
        : std::runtime_error(text), code(exit_code) {}
    ExitCode code;
};

}  // namespace forkmill::cli
