// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/master_program.h"

#include <cstdio>
#include <filesystem>

#include "core/supervisor/exit_codes.h"
#include "core/supervisor/module_store.h"
#include "core/supervisor/process_title.h"
#include "core/supervisor/signal_master.h"

namespace forkmill::supervisor {

namespace {

constexpr int kUnreachable = 69;  // EX_UNAVAILABLE: no master to tell.

std::string modules_in(const std::string& state_dir) {
    return state_dir + "/modules";
}

}  // namespace

int complain(const std::string& name, int code, const std::string& text) {
    std::fprintf(stderr, "%s: %s\n", name.c_str(), text.c_str());
    return code;
}

const std::vector<std::string>& own_command_line() {
    static const std::vector<std::string> words = [] {
        std::vector<std::string> found = original_command_line();
        std::error_code error;
        const std::filesystem::path program =
            std::filesystem::read_symlink("/proc/self/exe", error);
        if (error || found.empty()) return std::vector<std::string>{};
        std::erase(found, "--daemon");
        found[0] = program.string();
        return found;
    }();
    return words;
}

int run_master(const std::string& name,
               bool background,
               const std::function<int(ReadinessPipe& caller)>& serve) {
    if (own_command_line().empty())
        return complain(name, kExitSoftware, "cannot read /proc/self/exe and /proc/self/cmdline");
    ReadinessPipe caller;
    if (background) {
        auto begun = daemonize({.name = name});
        if (!begun) return complain(name, kExitTempFail, begun.failure().text);
        caller = std::move(begun).value();
    }
    const int code = serve(caller);
    caller.failed(code);
    return code;
}

base::Result<Command> probe_self(int result_fd) {
    return probe_command(own_command_line(), result_fd);
}

int send_verb(const std::string& name, const std::string& state_dir, const std::string& verb) {
    const base::Status sent = signal_master(state_dir, signal_of(verb));
    return sent ? kExitOk : complain(name, kUnreachable, sent.failure().text);
}

base::ConfigInput config_in(int fd) {
    return {.file = "/proc/self/fd/" + std::to_string(fd),
            .fragments = {},
            .environment = {},
            .overrides = {}};
}

base::Status judge_modules(Judged& judged,
                           const std::string& pool,
                           const WorkerRules& rules,
                           const std::vector<std::string>& module_path,
                           const std::string& state_dir) {
    if (rules.modules.empty()) return base::Done{};
    auto kept = keep_modules(rules.modules, module_path, modules_in(state_dir));
    if (!kept) return kept.failure();
    judged.modules.emplace_back(pool, std::move(kept).value());
    return base::Done{};
}

void take_modules(const Judged& judged, const std::string& pool, WorkerRules& rules) {
    for (const auto& [name, modules] : judged.modules)
        if (name == pool) rules.modules = modules;
}

void sweep_modules(const std::string& state_dir, const Judged& judged) {
    std::vector<std::string> used;
    for (const auto& [pool, modules] : judged.modules)
        used.insert(used.end(), modules.begin(), modules.end());
    sweep_modules(modules_in(state_dir), used);
}

}  // namespace forkmill::supervisor
