// SPDX-License-Identifier: Apache-2.0
// The command line of forkmill-worker, and of every program built on forkmill::Worker.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <string>

#include "worker/worker_config.h"

namespace forkmill::worker {

namespace {

constexpr int kUsage = 64;

struct Flags {
    std::string file;
    std::string verb;
    std::string connect;
    std::string workers;
    std::string threads;
    std::string pool;
    std::string queues;
    std::string state_dir;
    std::vector<std::string> modules;
    std::vector<std::string> sets;
    bool test = false;
    bool dump = false;
    bool daemon = false;
};

void declare(CLI::App& app, Flags& flags) {
    app.add_option("-c,--config", flags.file, "worker.yaml");
    app.add_flag("-t,--test", flags.test, "test the config and exit");
    app.add_flag("-T,--dump", flags.dump, "test the config, print its effective values and exit");
    app.add_option("-s,--signal",
                   flags.verb,
                   "tell the running master of this config: stop, quit, reload, drain or reopen")
        ->check(CLI::IsMember({"stop", "quit", "reload", "drain", "reopen"}));
    app.add_option("--connect", flags.connect, "the broker: tcp://host:port, ipc://… or unix://…");
    app.add_option("--workers", flags.workers, "processes");
    app.add_option("--threads", flags.threads, "task threads of each");
    app.add_option("--pool", flags.pool, "name under which they are shown");
    app.add_option("--queues", flags.queues, "queues they serve, comma-separated");
    app.add_option(
        "--module", flags.modules, "task module (.so), by name or path; may be repeated");
    app.add_option("--state-dir", flags.state_dir, "directory of this master's lock and pid file");
    app.add_option("--set", flags.sets, "KEY=VALUE: overrides a key of the file");
    app.add_flag("--daemon", flags.daemon, "go to the background; the command ends when all is up");
    app.set_version_flag("--version", "forkmill-worker 0.1.0");
}

std::string join(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : ",") + part;
    return text;
}

/// False: a --set is malformed.
bool add_overrides(const Flags& flags, base::ConfigInput& input) {
    const auto add = [&](const char* key, const std::string& value, const char* flag) {
        if (!value.empty()) input.overrides.push_back({key, value, flag});
    };
    for (const std::string& set : flags.sets) {
        const auto equals = set.find('=');
        if (equals == std::string::npos) {
            std::fprintf(stderr, "forkmill-worker: --set %s: expected KEY=VALUE\n", set.c_str());
            return false;
        }
        input.overrides.push_back({set.substr(0, equals), set.substr(equals + 1), "--set"});
    }
    add("broker", flags.connect, "--connect");
    add("workers", flags.workers, "--workers");
    add("threads", flags.threads, "--threads");
    add("pool", flags.pool, "--pool");
    add("queues", flags.queues, "--queues");
    add("modules", join(flags.modules), "--module");
    add("state_dir", flags.state_dir, "--state-dir");
    return true;
}

}  // namespace

CommandLine read_command_line(int argc, char** argv) {
    CommandLine line;
    Flags flags;
    CLI::App app{"forkmill-worker: lends this host's processors to a Forkmill broker"};
    declare(app, flags);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        line.exit_code = app.exit(error) == 0 ? 0 : kUsage;
        return line;
    }
    base::ConfigInput input{flags.file, {}, base::forkmill_environment(), {}};
    if (flags.file.empty() && flags.connect.empty()) {
        std::fputs(
            "forkmill-worker: whom to work for? Give -c worker.yaml or --connect tcp://host:port\n",
            stderr);
        line.exit_code = kUsage;
        return line;
    }
    if (!flags.file.empty())
        input.fragments = (std::filesystem::path{flags.file}.parent_path() / "conf.d").string();
    if (!add_overrides(flags, input)) {
        line.exit_code = kUsage;
        return line;
    }
    line.loaded = load_worker_config(input);
    for (const std::string& fault : line.loaded.faults) std::fprintf(stderr, "%s\n", fault.c_str());
    line.exit_code = line.loaded.exit_code;
    if (line.exit_code != 0) return line;
    if (flags.dump) std::fputs(line.loaded.dump.c_str(), stdout);
    if (flags.test || flags.dump) {
        std::fprintf(stderr,
                     "%s: the config is good\n",
                     flags.file.empty() ? "command line" : flags.file.c_str());
        line.verb = CommandVerb::Test;
    } else {
        line.verb = flags.verb.empty() ? CommandVerb::Run : CommandVerb::Signal;
        line.signal = flags.verb;
        line.background = flags.daemon;
    }
    return line;
}

}  // namespace forkmill::worker
