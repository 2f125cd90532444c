// SPDX-License-Identifier: Apache-2.0
#include "cli/operator.h"

#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <ostream>
#include <thread>

#include "cli/exit_code.h"
#include "cli/table.h"
#include "core/supervisor/control.h"

namespace forkmill::cli {

namespace {

using Json = nlohmann::json;

const std::vector<std::string> kPoolColumns{"name",
                                            "state",
                                            "workers",
                                            "ready",
                                            "starting",
                                            "draining",
                                            "backoff",
                                            "failed",
                                            "version"};
const std::vector<std::string> kCrashColumns{"pool",
                                             "slot",
                                             "pid",
                                             "birth",
                                             "cause",
                                             "detail",
                                             "core",
                                             "running",
                                             "uptime_ms",
                                             "rss_peak",
                                             "report"};

std::string ask(const Command& command, const std::string& request, base::Duration limit) {
    auto answer = supervisor::ask_master(command.state_dir, request, limit);
    if (!answer.ok())
        throw Failure{answer.failure().error_number == ETIMEDOUT ? kTimeout : kUnavailable,
                      answer.failure().text};
    if (!answer.value().good) throw Failure{kTaskFailed, answer.value().text};
    return answer.value().text;
}

Json ask_json(const Command& command, const std::string& request) {
    Json body = Json::parse(ask(command, request, command.connect_timeout), nullptr, false);
    if (!body.is_object()) throw Failure{kUnavailable, "the master's answer is no JSON object"};
    return body;
}

void show(const Command& command,
          const Json& rows,
          const std::vector<std::string>& columns,
          std::ostream& out) {
    if (command.output == Output::Json) out << rows.dump(2) << '\n';
    if (command.output == Output::Table) print_rows(rows, columns, out);
}

/// An upgrade that succeeds ends our connection with the program; its successor tells the rest.
void wait_for_successor(const Command& command, base::Duration limit) {
    const base::Time until = base::monotonic_now() + limit;
    for (;;) {
        const auto answer =
            supervisor::ask_master(command.state_dir, "status", command.connect_timeout);
        if (answer.ok()) {
            const Json body = Json::parse(answer.value().text, nullptr, false);
            if (body.is_object() && body.value("reloading", 1) == 0) return;
        }
        if (base::monotonic_now() >= until)
            throw Failure{kTimeout, "the upgrade had not ended at the timeout"};
        std::this_thread::sleep_for(std::chrono::milliseconds{50});
    }
}

}  // namespace

std::string state_dir_or_default(const std::string& given) {
    if (!given.empty()) return given;
    const char* set = std::getenv("FORKMILL_STATE_DIR");
    return set != nullptr && *set != '\0' ? set : "forkmill-state";
}

void order(const Command& command, std::ostream&) {
    constexpr base::Duration kLongest = std::chrono::minutes{10};
    const base::Duration limit = std::min(command.timeout, kLongest);
    const auto answer = supervisor::ask_master(command.state_dir, command.name, limit);
    if (!answer.ok() && answer.failure().error_number == ECONNRESET && command.name == "upgrade")
        return wait_for_successor(command, limit);
    if (!answer.ok())
        throw Failure{answer.failure().error_number == ETIMEDOUT ? kTimeout : kUnavailable,
                      answer.failure().text};
    if (!answer.value().good) throw Failure{kTaskFailed, answer.value().text};
}

void master_status(const Command& command, std::ostream& out) {
    const Json body = ask_json(command, "status");
    if (command.output == Output::Json) out << body.dump(2) << '\n';
    if (command.output != Output::Table) return;
    for (const auto& [key, value] : body.items())
        if (!value.is_structured()) out << key << ": " << value.dump() << '\n';
    out << '\n';
    print_rows(body.value("pools", Json::array()), kPoolColumns, out);
}

void list_pools(const Command& command, std::ostream& out) {
    show(command, ask_json(command, "status").value("pools", Json::array()), kPoolColumns, out);
}

void set_pool(const Command& command, std::ostream&) {
    ask(command,
        "set " + command.name + " " + std::to_string(command.count),
        command.connect_timeout);
}

void list_crashes(const Command& command, std::ostream& out) {
    const Json rows = ask_json(command, "crashes").value("crashes", Json::array());
    if (command.output == Output::Json) out << rows.dump(2) << '\n';
    if (command.output != Output::Table) return;
    // Reports have many lines: they follow their row.
    std::vector<std::string> columns{kCrashColumns.begin(), kCrashColumns.end() - 1};
    for (const Json& row : rows) {
        print_rows(Json::array({row}), columns, out);
        out << row.value("report", std::string{}) << "\n\n";
    }
}

}  // namespace forkmill::cli
