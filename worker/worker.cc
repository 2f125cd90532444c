// SPDX-License-Identifier: Apache-2.0
// forkmill::Worker::run(): a worker, an uplink or the master of both, as the environment says.
#include "forkmill/worker.h"

#include <cstdio>

#include "core/supervisor/exit_codes.h"
#include "core/supervisor/process_title.h"
#include "core/supervisor/spawn.h"
#include "core/supervisor/worker_birth.h"
#include "worker/host.h"
#include "worker/uplink.h"
#include "worker/worker_config.h"
#include "worker/worker_process.h"

namespace forkmill {
inline namespace v0 {

namespace {

worker::UserCode code_of(const Worker& self) {
    worker::UserCode code;
    code.tasks = task_entries(self.tasks);
    if (self.initializer) {
        code.initializer = [initializer = self.initializer] {
            detail::Buffer nothing;
            initializer.thunk(initializer.function, {initializer.arguments, {}}, nothing);
        };
    }
    return code;
}

}  // namespace

int Worker::run(int argc, char** argv) {
    // A program of its user's may hold on to its argv, which a title overwrites.
    if (worker::is_stock_program()) supervisor::init_process_title(argc, argv);
    if (auto birth = supervisor::take_birth_from_environment()) {
        if (birth->role == "uplink") return worker::run_uplink(*birth);
        if (birth->role == "forkserver")
            return worker::run_born_fork_server(std::move(*birth), code_of(*this));
        return worker::run_born_worker(std::move(*birth), code_of(*this));
    }
    // Before anything is opened, so that nothing of ours has the number of a standard one.
    if (!supervisor::fill_standard_fds().ok()) return supervisor::kExitTempFail;
    const worker::CommandLine line = worker::read_command_line(argc, argv);
    switch (line.verb) {
        case worker::CommandVerb::Run:
            return worker::run_host(line.loaded, line.background);
        case worker::CommandVerb::Signal:
            return worker::signal_host(line.loaded.config, line.signal);
        default:
            return line.exit_code;
    }
}

}  // namespace v0
}  // namespace forkmill
