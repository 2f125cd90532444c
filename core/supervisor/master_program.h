// SPDX-License-Identifier: Apache-2.0
// Master program: what forkmilld and forkmill-worker have in common when they run a master: their
// own command line, the background, and the config that a probe judged.
//
// Threading: the process's only thread.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/config_reader.h"
#include "core/base/result.h"
#include "core/supervisor/daemonize.h"
#include "core/supervisor/fd_text.h"
#include "core/supervisor/master.h"
#include "core/supervisor/probe.h"
#include "core/supervisor/worker_rules.h"

namespace forkmill::supervisor {

/// Writes "NAME: TEXT" to stderr; returns `code`, to exit with.
int complain(const std::string& name, int code, const std::string& text);

/// This program's command line, to be run again in the foreground, with the path that the program
/// had when run_master() began: by now another may lie there. Empty when it cannot be found.
const std::vector<std::string>& own_command_line();

/// Runs `serve`, in the background when asked; whoever waits there is told how it ended. There,
/// own_command_line() is not empty.
int run_master(const std::string& name,
               bool background,
               const std::function<int(ReadinessPipe& caller)>& serve);

/// A reload's probe: this program's own command line.
base::Result<Command> probe_self(int result_fd);

/// -s: sends the master of `state_dir` the signal of that name; returns the exit code.
int send_verb(const std::string& name, const std::string& state_dir, const std::string& verb);

/// A config that lies in a descriptor and has all its values in it.
base::ConfigInput config_in(int fd);

/// What a probe judged good, read once more, by the owner's `load`: the text is the probe's own
/// dump.
template <class Load>
auto load_judged(const std::string& dump, Load load)
    -> base::Result<decltype(load(base::ConfigInput{}).config)> {
    const auto file = text_as_file(dump);
    if (!file) return file.failure();
    auto loaded = load(config_in(file.value().get()));
    if (!loaded.faults.empty()) return base::Failure{loaded.faults.front()};
    return std::move(loaded.config);
}

/// Keeps copies of a pool's modules in `state_dir`, and adds them to what was judged.
base::Status judge_modules(Judged& judged,
                           const std::string& pool,
                           const WorkerRules& rules,
                           const std::vector<std::string>& module_path,
                           const std::string& state_dir);
/// Of those that were kept, the pool's take the place of the names in the config.
void take_modules(const Judged& judged, const std::string& pool, WorkerRules& rules);
/// Removes copies that nobody uses. REQUIRES: no worker of this state directory lives.
void sweep_modules(const std::string& state_dir, const Judged& judged);

}  // namespace forkmill::supervisor
