// SPDX-License-Identifier: Apache-2.0
// Probe: a throw-away run of a master's own command line that judges the config as it is now, and
// tells what it found to the master that started it.
//
// The config is untrusted text and its modules untrusted files; whatever they do to the parser ends
// the probe alone. Threading: before any thread exists.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/supervisor/master.h"

namespace forkmill::supervisor {

/// What a good config comes to.
struct Judged {
    std::string dump;  ///< Effective values as YAML.
    std::vector<std::pair<std::string, std::vector<std::string>>> modules;  ///< Copies, by pool.
};

/// `argv` run as a probe; the result goes to `result_fd`.
Command probe_command(std::vector<std::string> argv, int result_fd);
/// Set in a probe: where its result goes. The variable is removed.
std::optional<int> take_probe_fd();
/// Returns the probe's exit code.
int answer_probe(int fd, const Judged& judged);
base::Result<Judged> read_judged(const std::string& result);

}  // namespace forkmill::supervisor
