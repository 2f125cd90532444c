// SPDX-License-Identifier: Apache-2.0
// forkmill: asks a broker from a shell.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <iostream>
#include <limits>
#include <map>
#include <string>

#include "cli/command_line.h"
#include "cli/exit_code.h"
#include "cli/operator.h"

namespace {

using namespace forkmill;  // NOLINT(google-build-using-namespace): a program's own main file.

base::Duration seconds(double count) {
    return std::chrono::duration_cast<base::Duration>(std::chrono::duration<double>{count});
}

}  // namespace

int main(int argc, char** argv) {
    cli::Flags flags;
    std::map<CLI::App*, cli::Verb> verbs;
    CLI::App app{"Asks a Forkmill broker: runs tasks, shows what it does.", "forkmill"};
    cli::declare(app, flags, verbs);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? cli::kOk : cli::kUsage;
    }
    flags.command.endpoint = cli::endpoint_or_default(flags.endpoint);
    flags.command.state_dir = cli::state_dir_or_default(flags.state_dir);
    flags.command.output = flags.output;
    flags.command.connect_timeout = seconds(flags.connect_timeout);
    if (flags.timeout < cli::kLongest) flags.command.timeout = seconds(flags.timeout);
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
