// SPDX-License-Identifier: Apache-2.0
// forkmill: asks a broker from a shell.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <iostream>
#include <limits>
#include <map>
#include <string>

#include "cli/exit_code.h"
#include "cli/verbs.h"

namespace {

using namespace forkmill;  // NOLINT(google-build-using-namespace): a program's own main file.

constexpr double kLongest = 1e9;  // Seconds: more than any limit can mean, less than overflows.

struct Flags {
    std::string endpoint;
    cli::Output output = cli::Output::Table;
    double connect_timeout = 5;
    double timeout = kLongest;
    cli::Command command;
};

base::Duration seconds(double count) {
    return std::chrono::duration_cast<base::Duration>(std::chrono::duration<double>{count});
}

using Verb = void (*)(const cli::Command&, std::ostream&);

void add_timeout(CLI::App& verb, Flags& flags) {
    verb.add_option("--timeout", flags.timeout, "seconds to wait for the task")
        ->check(CLI::Range(0.0, kLongest));
}

/// What follows NAME are the arguments, whatever they look like.
CLI::App* add_task_verb(CLI::App& app, const char* name, const char* help, Flags& flags) {
    CLI::App* verb = app.add_subcommand(name, help);
    verb->add_option("NAME", flags.command.name, "task; its arguments follow, each a JSON value")
        ->required();
    verb->prefix_command();
    verb->fallthrough(false);
    return verb;
}

CLI::App* add_id_verb(CLI::App& app, const char* name, const char* help, Flags& flags) {
    CLI::App* verb = app.add_subcommand(name, help);
    verb->add_option("ID", flags.command.id, "task id, as submit prints it")->required();
    return verb;
}

void declare(CLI::App& app, Flags& flags, std::map<CLI::App*, Verb>& verbs) {
    const std::map<std::string, cli::Output> outputs{
        {"table", cli::Output::Table}, {"json", cli::Output::Json}, {"quiet", cli::Output::Quiet}};
    app.add_option("--endpoint", flags.endpoint, "the broker; default: FORKMILL_ENDPOINT");
    app.add_option("-o,--output", flags.output, "table, json or quiet")
        ->transform(CLI::CheckedTransformer(outputs));
    app.add_option("--connect-timeout", flags.connect_timeout, "seconds to wait for the broker")
        ->check(CLI::Range(0.0, kLongest));
    app.require_subcommand(1);
    app.fallthrough();
    CLI::App* call = add_task_verb(app, "call", "run a task and print its result", flags);
    add_timeout(*call, flags);
    verbs[call] = &cli::call;
    verbs[add_task_verb(app, "submit", "start a detached task and print its id", flags)] =
        &cli::submit;
    CLI::App* wait = add_id_verb(app, "wait", "wait for the end of a task", flags);
    add_timeout(*wait, flags);
    verbs[wait] = &cli::wait;
    CLI::App* result = add_id_verb(app, "result", "wait for a task and print its result", flags);
    add_timeout(*result, flags);
    verbs[result] = &cli::result;
    CLI::App* cancel = add_id_verb(app, "cancel", "ask a task to end", flags);
    cancel->add_flag("--kill", flags.command.kill, "replace the worker that runs it");
    verbs[cancel] = &cli::cancel;
    verbs[app.add_subcommand("status", "what the broker does")] = &cli::status;
    CLI::App* worker = app.add_subcommand("worker", "workers of the broker")->require_subcommand(1);
    verbs[worker->add_subcommand("ls", "list them")] = &cli::list_workers;
    CLI::App* queue = app.add_subcommand("queue", "queues of the broker")->require_subcommand(1);
    verbs[queue->add_subcommand("ls", "list them")] = &cli::list_queues;
    CLI::App* keygen = app.add_subcommand("keygen", "make a key for encrypted tcp");
    keygen->add_option("FILE", flags.command.file, "FILE.pub: its public half")->required();
    verbs[keygen] = &cli::keygen;
    app.set_version_flag("--version", "forkmill 0.1.0");
}

}  // namespace

int main(int argc, char** argv) {
    Flags flags;
    std::map<CLI::App*, Verb> verbs;
    CLI::App app{"Asks a Forkmill broker: runs tasks, shows what it does.", "forkmill"};
    declare(app, flags, verbs);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? cli::kOk : cli::kUsage;
    }
    flags.command.endpoint = cli::endpoint_or_default(flags.endpoint);
    flags.command.output = flags.output;
    flags.command.connect_timeout = seconds(flags.connect_timeout);
    if (flags.timeout < kLongest) flags.command.timeout = seconds(flags.timeout);
    try {
        for (const auto& [app_of_verb, verb] : verbs) {
            if (!app_of_verb->parsed()) continue;
            flags.command.arguments = app_of_verb->remaining();
            verb(flags.command, std::cout);
        }
        return cli::kOk;
    } catch (const cli::Failure& failure) {
        std::fprintf(stderr, "forkmill: %s\n", failure.what());
        return failure.code;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "forkmill: %s\n", error.what());
        return cli::kTaskFailed;
    }
}
