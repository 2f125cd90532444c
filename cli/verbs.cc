// SPDX-License-Identifier: Apache-2.0
#include "cli/verbs.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <ostream>

#include "cli/connection.h"
#include "cli/exit_code.h"
#include "cli/json_codec.h"
#include "cli/table.h"
#include "core/net/key_file.h"
#include "forkmill/detail/seam.h"
#include "forkmill/errors.h"

namespace forkmill::cli {

namespace {

using Json = nlohmann::json;

Json parse_answer(const Answer& answer) {
    if (answer.code != wire::Code::None) throw Failure{kTaskFailed, answer.body};
    Json body = Json::parse(answer.body, nullptr, false);
    if (!body.is_object()) throw Failure{kUnavailable, "the broker's answer is no JSON object"};
    return body;
}

std::string text_field(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

std::string signature_of(Connection& connection, const std::string& name) {
    const Answer answer = connection.ask("function", name);
    if (answer.code == wire::Code::NotFound) throw Failure{kTaskFailed, name + ": " + answer.body};
    return text_field(parse_answer(answer), "signature");
}

base::TaskId task_id(const std::string& text) {
    const auto id = base::parse_task_id(text);
    if (!id) throw Failure{kUsage, "no task id (32 hex digits): " + text};
    return *id;
}

/// Failure 1, 69 or 75 for a task that did not succeed.
void check_success(const Ended& ended) {
    if (ended.outcome == wire::Outcome::Succeeded) return;
    try {
        detail::throw_error({static_cast<std::uint8_t>(ended.outcome), ended.body});
    } catch (const Busy& error) {
        throw Failure{kTryAgain, error.what()};
    } catch (const BrokerLost& error) {
        throw Failure{kUnavailable, static_cast<const PlainError&>(error).what()};
    } catch (const Error& error) {
        throw Failure{kTaskFailed, error.what()};
    }
}

Ended wait_ended(Connection& connection, const Command& command) {
    std::optional<Ended> ended = connection.wait(command.timeout);
    if (!ended) throw Failure{kTimeout, "the task had not ended at the timeout"};
    check_success(*ended);
    return *std::move(ended);
}

std::vector<std::byte> packed_arguments(const std::string& signature, const Command& command) {
    try {
        return pack_arguments(signature, command.arguments);
    } catch (const JsonError& error) {
        throw Failure{kUsage, command.name + ": " + error.what()};
    }
}

std::string printed_result(const std::string& signature, const Ended& ended) {
    try {
        return signature.empty() ? unpack_anything(ended.body)
                                 : unpack_result(signature, ended.body);
    } catch (const JsonError& error) {
        throw Failure{kTaskFailed, error.what()};
    }
}

/// What the task returns, as far as the broker still knows; empty: it does not.
std::string signature_of_task(Connection& connection, const std::string& id) {
    const Answer known = connection.ask("task", id);
    if (known.code != wire::Code::None) return {};
    const Answer function = connection.ask("function", text_field(parse_answer(known), "name"));
    if (function.code != wire::Code::None) return {};
    return text_field(parse_answer(function), "signature");
}

const std::vector<std::string> kWorkerColumns{"pool",
                                              "host",
                                              "pid",
                                              "slot",
                                              "state",
                                              "threads",
                                              "running",
                                              "held",
                                              "done",
                                              "task"};
const std::vector<std::string> kQueueColumns{"name",
                                             "ready",
                                             "scheduled",
                                             "leased",
                                             "running",
                                             "dead",
                                             "workers",
                                             "weight",
                                             "waiting"};

const std::vector<std::string>
    kObjectColumns{"id", "name", "kind", "type", "size", "bytes", "handles", "waiting", "holder"};
const std::vector<std::string> kLockColumns{"id", "name", "handles", "waiting", "holder", "token"};

void rule_object(const Command& command, wire::ObjectVerb verb) {
    Connection connection{command.endpoint, command.connect_timeout, true};
    const Json row = parse_answer(connection.ask("object", command.id));
    const Answer answer = connection.operate(verb, row.value("id", std::uint64_t{0}));
    if (answer.code == wire::Code::None) return;
    throw Failure{
        kTaskFailed,
        command.id + ": " +
            (answer.body.empty() ? std::string{wire::name_of(answer.code)} : answer.body)};
}

void list(const Command& command,
          const char* what,
          const std::vector<std::string>& columns,
          std::ostream& out) {
    Connection connection{command.endpoint, command.connect_timeout};
    const Json body = parse_answer(connection.ask(what, command.name));
    const Json rows = body.value(what, Json::array());
    if (command.output == Output::Json) out << rows.dump(2) << '\n';
    if (command.output == Output::Table) print_rows(rows, columns, out);
}

}  // namespace

std::string endpoint_or_default(const std::string& given) {
    if (!given.empty()) return given;
    const char* set = std::getenv("FORKMILL_ENDPOINT");
    return set != nullptr && *set != '\0' ? set : "tcp://127.0.0.1:7700";
}

void call(const Command& command, std::ostream& out) {
    Connection connection{command.endpoint, command.connect_timeout};
    const std::string signature = signature_of(connection, command.name);
    connection.submit(command.name, signature, packed_arguments(signature, command), false);
    const Ended ended = wait_ended(connection, command);
    if (command.output != Output::Quiet) out << printed_result(signature, ended) << '\n';
}

void submit(const Command& command, std::ostream& out) {
    Connection connection{command.endpoint, command.connect_timeout};
    const std::string signature = signature_of(connection, command.name);
    const base::TaskId id =
        connection.submit(command.name, signature, packed_arguments(signature, command), true);
    connection.wait_accepted();
    // A task that ended already was accepted, unless it was refused: then there is nothing to name.
    if (const auto ended = connection.wait(base::Duration::zero());
        ended && ended->outcome == wire::Outcome::Failed && !connection.accepted())
        check_success(*ended);
    const std::string text = base::to_string(id);
    out << (command.output == Output::Json ? Json{{"task", text}}.dump() : text) << '\n';
}

void wait(const Command& command, std::ostream&) {
    const base::TaskId id = task_id(command.id);
    Connection connection{command.endpoint, command.connect_timeout};
    connection.attach(id);
    wait_ended(connection, command);
}

void result(const Command& command, std::ostream& out) {
    const base::TaskId id = task_id(command.id);
    Connection connection{command.endpoint, command.connect_timeout};
    const std::string signature = signature_of_task(connection, command.id);
    connection.attach(id);
    const Ended ended = wait_ended(connection, command);
    if (command.output != Output::Quiet) out << printed_result(signature, ended) << '\n';
}

void cancel(const Command& command, std::ostream&) {
    const base::TaskId id = task_id(command.id);
    Connection connection{command.endpoint, command.connect_timeout};
    const auto state = [&] {
        return text_field(parse_answer(connection.ask("task", command.id)), "state");
    };
    const std::string before = state();
    constexpr std::array<std::string_view, 5> kFinal{
        "succeeded", "failed", "cancelled", "expired", "dead"};
    if (std::find(kFinal.begin(), kFinal.end(), before) != kFinal.end())
        throw Failure{kTaskFailed, "the task has ended already: " + before};
    connection.attach(id);
    connection.cancel(command.kill);
    // The broker takes the cancel and this question in order; whatever it answers, it has the
    // first.
    static_cast<void>(connection.ask("task", command.id));
}

void status(const Command& command, std::ostream& out) {
    Connection connection{command.endpoint, command.connect_timeout};
    const Json body = parse_answer(connection.ask("status"));
    if (command.output == Output::Json) out << body.dump(2) << '\n';
    if (command.output != Output::Table) return;
    for (const auto& [key, value] : body.items()) {
        if (!value.is_structured()) out << key << ": " << cell(body, key) << '\n';
    }
    const Json counters = body.value("counters", Json::object());
    for (const auto& [key, value] : counters.items()) out << key << ": " << value.dump() << '\n';
    out << '\n';
    print_rows(body.value("queues", Json::array()), kQueueColumns, out);
    out << '\n';
    print_rows(body.value("workers", Json::array()), kWorkerColumns, out);
}

void list_workers(const Command& command, std::ostream& out) {
    list(command, "workers", kWorkerColumns, out);
}

void list_queues(const Command& command, std::ostream& out) {
    list(command, "queues", kQueueColumns, out);
}

void list_objects(const Command& command, std::ostream& out) {
    list(command, "objects", kObjectColumns, out);
}

void list_locks(const Command& command, std::ostream& out) {
    list(command, "locks", kLockColumns, out);
}

void show_object(const Command& command, std::ostream& out) {
    Connection connection{command.endpoint, command.connect_timeout};
    Json row = parse_answer(connection.ask("object", command.id));
    row.erase("api");
    if (command.output == Output::Json) out << row.dump(2) << '\n';
    if (command.output != Output::Table) return;
    for (const auto& [key, value] : row.items()) out << key << ": " << cell(row, key) << '\n';
}

void remove_object(const Command& command, std::ostream&) {
    rule_object(command, wire::ObjectVerb::Remove);
}

void break_lock(const Command& command, std::ostream&) {
    rule_object(command, wire::ObjectVerb::Break);
}

void keygen(const Command& command, std::ostream& out) {
    const net::CurvePair pair = net::make_curve_pair();
    const base::Status written = net::write_key_file(command.file, pair);
    if (!written.ok()) throw Failure{kCannotCreate, written.failure().text};
    out << pair.public_key << '\n';
}

}  // namespace forkmill::cli
