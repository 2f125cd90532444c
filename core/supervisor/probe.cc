// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/probe.h"

#include <string_view>

#include "core/supervisor/child_env.h"
#include "core/supervisor/fd_text.h"

namespace forkmill::supervisor {

namespace {

constexpr const char* kVariable = "FORKMILL_PROBE_FD";
constexpr std::string_view kEnd = "---\n";

}  // namespace

Command probe_command(std::vector<std::string> argv, int result_fd) {
    Command command;
    command.argv = std::move(argv);
    command.environment = {std::string{kVariable} + "=" + std::to_string(result_fd)};
    command.inherit = {result_fd};
    return command;
}

std::optional<int> take_probe_fd() {
    return take_fd(kVariable);
}

int answer_probe(int fd, const Judged& judged) {
    std::string text;
    for (const auto& [pool, modules] : judged.modules) {
        text += "pool " + pool + "\n";
        for (const std::string& module : modules) text += "module " + module + "\n";
    }
    text += kEnd;
    return write_all(fd, text) && write_all(fd, judged.dump) ? kExitOk : kExitSoftware;
}

base::Result<Judged> read_judged(const std::string& result) {
    Judged judged;
    std::string_view rest{result};
    while (!rest.starts_with(kEnd)) {
        const std::size_t end = rest.find('\n');
        if (end == std::string_view::npos) return base::Failure{"the probe told no config"};
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(end + 1);
        if (line.starts_with("pool "))
            judged.modules.emplace_back(line.substr(5), std::vector<std::string>{});
        else if (line.starts_with("module ") && !judged.modules.empty())
            judged.modules.back().second.emplace_back(line.substr(7));
        else
            return base::Failure{"the probe told what is no config"};
    }
    judged.dump = rest.substr(kEnd.size());
    return judged;
}

}  // namespace forkmill::supervisor
