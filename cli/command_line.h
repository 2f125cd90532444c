// SPDX-License-Identifier: Apache-2.0
// CommandLine: the words of `forkmill` and the verb that each set of them means.
#pragma once

#include <CLI/CLI.hpp>
#include <iosfwd>
#include <map>
#include <string>

#include "cli/verbs.h"

namespace forkmill::cli {

inline constexpr double kLongest =
    1e9;  ///< Seconds: more than any limit can mean, less than overflows.

struct Flags {
    std::string endpoint;
    std::string state_dir;
    Output output = Output::Table;
    double connect_timeout = 5;
    double timeout = kLongest;
    Command command;
};

using Verb = void (*)(const Command&, std::ostream&);

/// Declares everything; after parsing, the subcommand that was parsed names its verb.
void declare(CLI::App& app, Flags& flags, std::map<CLI::App*, Verb>& verbs);

}  // namespace forkmill::cli
