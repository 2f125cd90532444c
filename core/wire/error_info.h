// SPDX-License-Identifier: Apache-2.0
// ErrorInfo: why a task did not succeed, as it travels. codec.h packs and unpacks it.
//
// Threading: any.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/wire/codes.h"

namespace forkmill::wire {

/// Why a task did not succeed: the body of a non-success RESULTS record. Made by the worker (task
/// code) or by the broker (loss, cancel, expiry).
struct ErrorInfo {
    Code code = Code::None;
    std::string type;  ///< Demangled C++ type of what was thrown, if anything was.
    std::string what;
    std::string host;
    std::int32_t pid = 0;
    std::string task;  ///< Task name.
    std::uint32_t attempt = 0;
    std::int32_t number =
        0;              ///< Exit code, signal, errno of a system_error, user code of a TaskFailure.
    std::string cause;  ///< supervisor cause name for WorkerLost ("signal", "exit", "oom" …).
    Ran ran = Ran::Maybe;
    std::vector<std::pair<std::string, std::string>>
        nested;  ///< (type, what) of nested causes, outermost first, ≤ 16.
    std::string
        detail;  ///< Opaque bytes: payload of a TaskFailure, or stderr tail of a dead worker.
    bool no_retry = false;  ///< The task asked for no further attempt (NoRetry).
};

}  // namespace forkmill::wire
