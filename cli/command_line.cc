// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.h"

#include <tuple>
#include <utility>

#include "cli/operator.h"

namespace forkmill::cli {

namespace {

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

void add_state_dir(CLI::App& verb, Flags& flags) {
    verb.add_option("--state-dir",
                    flags.state_dir,
                    "of the master; default: FORKMILL_STATE_DIR, else forkmill-state");
}

void declare_objects(CLI::App& app, Flags& flags, std::map<CLI::App*, Verb>& verbs) {
    CLI::App* object = app.add_subcommand("object", "shared objects")->require_subcommand(1);
    CLI::App* lock = app.add_subcommand("lock", "shared locks")->require_subcommand(1);
    const std::tuple<CLI::App*, const char*, Verb> lists[] = {
        {object, "list them, at most 1,000", &cli::list_objects},
        {lock, "list them with owner and token, at most 1,000", &cli::list_locks}};
    for (const auto& [group, help, run] : lists) {
        CLI::App* ls = group->add_subcommand("ls", help);
        ls->add_option("PREFIX", flags.command.name, "of the names to list");
        verbs[ls] = run;
    }
    const std::tuple<CLI::App*, const char*, const char*, Verb> each[] = {
        {object, "info", "show one", &cli::show_object},
        {object, "rm", "end one, whoever uses it", &cli::remove_object},
        {lock, "break", "take one from its owner", &cli::break_lock}};
    for (const auto& [group, name, help, run] : each) {
        CLI::App* verb = group->add_subcommand(name, help);
        verb->add_option("NAME|ID", flags.command.id, "which one")->required();
        verbs[verb] = run;
    }
}

void declare_operator(CLI::App& app, Flags& flags, std::map<CLI::App*, Verb>& verbs) {
    CLI::App* broker = app.add_subcommand("broker", "the master of a broker or worker host")
                           ->require_subcommand(1);
    add_state_dir(*broker, flags);
    verbs[broker->add_subcommand("status", "its pools, as it sees them")] = &cli::master_status;
    const std::pair<const char*, const char*> orders[] = {
        {"reload", "take the config anew; ends when that has ended"},
        {"upgrade", "take the program anew; ends when that has ended"},
        {"reopen", "write logs anew"},
        {"quit", "end when the running tasks have"},
        {"stop", "end within shutdown_timeout"}};
    for (const auto& [name, help] : orders) {
        CLI::App* verb = broker->add_subcommand(name, help);
        add_timeout(*verb, flags);
        verb->callback([&flags, name = std::string{name}] { flags.command.name = name; });
        verbs[verb] = &cli::order;
    }
    CLI::App* pool = app.add_subcommand("pool", "pools of a master")->require_subcommand(1);
    add_state_dir(*pool, flags);
    verbs[pool->add_subcommand("ls", "list them")] = &cli::list_pools;
    CLI::App* set = pool->add_subcommand("set", "change a pool's size");
    set->add_option("NAME", flags.command.name, "of the pool")->required();
    set->add_option("WORKERS", flags.command.count, "how many from now on")->required();
    verbs[set] = &cli::set_pool;
}

}  // namespace

void declare(CLI::App& app, Flags& flags, std::map<CLI::App*, Verb>& verbs) {
    const std::map<std::string, Output> outputs{
        {"table", Output::Table}, {"json", Output::Json}, {"quiet", Output::Quiet}};
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
    CLI::App* crashes = worker->add_subcommand("crashes", "the last deaths that nobody wanted");
    add_state_dir(*crashes, flags);
    verbs[crashes] = &cli::list_crashes;
    CLI::App* queue = app.add_subcommand("queue", "queues of the broker")->require_subcommand(1);
    verbs[queue->add_subcommand("ls", "list them")] = &cli::list_queues;
    declare_objects(app, flags, verbs);
    declare_operator(app, flags, verbs);
    CLI::App* keygen = app.add_subcommand("keygen", "make a key for encrypted tcp");
    keygen->add_option("FILE", flags.command.file, "FILE.pub: its public half")->required();
    verbs[keygen] = &cli::keygen;
    app.set_version_flag("--version", "forkmill 0.1.0");
}

}  // namespace forkmill::cli
