// SPDX-License-Identifier: Apache-2.0
// forkmilld: a broker and its workers on this host. `forkmilld -c broker.yaml`; `-t` tests the
// config, `-T` shows it, `-s` signals a running one.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "broker/daemon.h"
#include "core/supervisor/child_env.h"
#include "core/supervisor/exit_codes.h"
#include "core/supervisor/process_title.h"
#include "core/supervisor/spawn.h"

namespace {

int run_as_router() {
    const auto child = forkmill::supervisor::take_child_env();
    if (!child) return forkmill::supervisor::kExitUsage;
    auto start = forkmill::broker::router_start_from_environment(*child);
    if (!start.ok()) {
        std::fprintf(stderr, "forkmilld router: %s\n", start.failure().text.c_str());
        return forkmill::supervisor::kExitConfig;
    }
    return forkmill::broker::run_router(std::move(start).value());
}

}  // namespace

int main(int argc, char** argv) {
    // Before anything is opened, so that nothing of ours has the number of a standard one.
    if (!forkmill::supervisor::fill_standard_fds().ok()) return forkmill::supervisor::kExitTempFail;
    forkmill::supervisor::init_process_title(argc, argv);
    if (forkmill::broker::is_router_process()) return run_as_router();

    std::string file;
    std::string verb;
    std::vector<std::string> sets;
    bool test = false;
    bool dump = false;
    bool daemon = false;
    CLI::App app{"forkmilld: the Forkmill broker and its local workers"};
    app.add_option("-c,--config", file, "broker.yaml")->required();
    app.add_flag("-t,--test", test, "test the config and exit");
    app.add_flag("-T,--dump", dump, "test the config, print its effective values and exit");
    app.add_option(
           "-s,--signal",
           verb,
           "tell the running daemon of this config: stop, quit, reload, upgrade, drain or reopen")
        ->check(CLI::IsMember({"stop", "quit", "reload", "upgrade", "drain", "reopen"}));
    app.add_option("--set",
                   sets,
                   "KEY=VALUE: overrides a key of the file, as in --set pools.default.workers=8");
    app.add_flag("--daemon", daemon, "go to the background; the command ends when all is up");
    app.set_version_flag("--version", "forkmilld 0.1.0");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return error.get_exit_code() == 0 ? app.exit(error)
                                          : (app.exit(error), forkmill::supervisor::kExitUsage);
    }

    forkmill::base::ConfigInput input{file, {}, forkmill::base::forkmill_environment(), {}};
    const auto slash = file.rfind('/');
    input.fragments =
        (slash == std::string::npos ? std::string{} : file.substr(0, slash + 1)) + "conf.d";
    for (const std::string& set : sets) {
        const auto equals = set.find('=');
        if (equals == std::string::npos) {
            std::fprintf(stderr, "forkmilld: --set %s: expected KEY=VALUE\n", set.c_str());
            return forkmill::supervisor::kExitUsage;
        }
        input.overrides.push_back({set.substr(0, equals), set.substr(equals + 1), "--set"});
    }
    const forkmill::broker::LoadedConfig loaded = forkmill::broker::load_broker_config(input);
    for (const std::string& fault : loaded.faults) std::fprintf(stderr, "%s\n", fault.c_str());
    if (loaded.exit_code != 0) return loaded.exit_code;
    if (dump) std::fputs(loaded.dump.c_str(), stdout);
    if (test || dump) {
        std::fprintf(stderr, "%s: the config is good\n", file.c_str());
        return 0;
    }
    if (!verb.empty()) return forkmill::broker::signal_daemon(loaded.config, verb);
    return forkmill::broker::run_daemon(loaded, {.file = file, .background = daemon});
}
