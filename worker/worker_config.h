// SPDX-License-Identifier: Apache-2.0
// WorkerConfig: worker.yaml and the flags of forkmill-worker as a plain struct. configs/worker.yaml
// documents every key; names are the same here, there and in flags.
#pragma once

#include <string>
#include <vector>

#include "core/base/config_reader.h"
#include "core/base/log.h"
#include "core/net/key_file.h"
#include "core/supervisor/worker_rules.h"

namespace forkmill::worker {

struct WorkerConfig : supervisor::WorkerRules {
    std::string state_dir;  ///< Empty: none is kept (started with --connect alone).
    std::string broker;
    net::KeyNames keys;  ///< For a broker that encrypts tcp://; empty: none.
    std::string host;    ///< As shown; empty: the hostname.
    std::string pool = "default";
    std::vector<std::string> module_path;
    base::Duration shutdown_timeout{};
    std::string cgroup = "auto";  ///< See supervisor/cgroup.h.
    base::LogLevel log_level = base::LogLevel::Info;
    std::string log_file;
};

struct LoadedWorkerConfig {
    WorkerConfig config;
    std::vector<std::string>
        faults;         ///< Empty: the config is good. Else all of them, one line each.
    int exit_code = 0;  ///< Of a program that was given these faults; see ConfigReader.
    std::string dump;   ///< Effective values as YAML (-T).
};

LoadedWorkerConfig load_worker_config(const base::ConfigInput& input);

/// What the command line asks for, once the config was judged.
enum class CommandVerb : std::uint8_t { Run, Test, Signal, Exit };

struct CommandLine {
    CommandVerb verb = CommandVerb::Exit;
    int exit_code = 0;
    std::string signal;       ///< For Signal: stop, quit, reload or reopen.
    bool background = false;  ///< For Run: `--daemon`.
    LoadedWorkerConfig loaded;
};

/// Reads argv (and the file it names); prints usage, faults and dumps where they belong.
CommandLine read_command_line(int argc, char** argv);

}  // namespace forkmill::worker
