// SPDX-License-Identifier: Apache-2.0
// The daemons' log: one line per event, `time level name[pid] event key=value …`. The SDK has its
// own hook and does not use it.
//
// Invariants: (1) a line is written by one write(2) to an O_APPEND file or stderr, so lines of
// several processes do not mix; (2) values are escaped and cut, so nothing a peer said can forge a
// line; (3) no thread is started and nothing is buffered: a killed process loses no line.
// Threading: any thread; log_start() in each process after its fork, before other threads.
//
//     log_start({.name = "forkmilld", .level = LogLevel::Info, .file = "/var/log/forkmill.log"});
//     log_line(LogLevel::Warning, "worker died", {{"pid", pid}, {"cause", "segv"}});
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace forkmill::base {

enum class LogLevel : std::uint8_t { Error, Warning, Info, Debug };

struct LogOptions {
    std::string name = "forkmill";  ///< Of the process: "forkmilld", "router".
    LogLevel level = LogLevel::Info;
    std::string file = {};  ///< Empty: stderr.
};

/// One key=value of a line.
struct LogField {
    LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
    LogField(std::string_view k, const char* v) : key(k), value(v) {}
    LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
    template <std::integral T>
    LogField(std::string_view k, T v) : key(k), value(std::to_string(v)) {}

    std::string_view key;
    std::string value;
};

/// Opens this process's log; until then lines of level Warning and above go to stderr. May be
/// called again, after a fork or with other options; on failure the old log stays.
Status log_start(const LogOptions& options);

/// Opens the file anew (USR1, after it was renamed); on failure the old one stays in use.
Status log_reopen();

void log_set_level(LogLevel level);
bool log_enabled(LogLevel level);

/// Writes one line: an event in plain words, then its fields.
void log_line(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

}  // namespace forkmill::base
