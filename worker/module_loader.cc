// SPDX-License-Identifier: Apache-2.0
#include "worker/module_loader.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "core/base/log.h"
#include "core/supervisor/module_store.h"
#include "forkmill/module.h"
#include "forkmill/tasks.h"
#include "worker/module_file.h"

namespace forkmill::worker {

namespace {

/// What a signal handler or an exit handler can still say: prepared before the module's code runs.
struct Loading {
    std::array<char, 512> stuck{};
    std::array<char, 512> left{};
    std::atomic<bool> active{false};
};
Loading loading;

void say(const std::array<char, 512>& text) {
    [[maybe_unused]] const auto written =
        ::write(STDERR_FILENO, text.data(), std::strlen(text.data()));
}

void on_alarm(int) {
    say(loading.stuck);
    ::_exit(1);
}

void on_exit() {
    if (!loading.active) return;
    say(loading.left);
    ::_exit(1);
}

void prepare(std::array<char, 512>& into, const std::string& path, const char* what) {
    std::snprintf(
        into.data(), into.size(), "forkmill-worker: task module %s %s\n", path.c_str(), what);
}

/// While it lives, a module that exits or hangs ends the process with a sentence.
class LoadGuard {
  public:
    LoadGuard(const std::string& path, std::chrono::milliseconds limit) {
        static const bool registered = std::atexit(&on_exit) == 0;
        static_cast<void>(registered);
        prepare(loading.stuck,
                path,
                ("did not finish loading within " + std::to_string(limit.count()) + " ms").c_str());
        prepare(loading.left, path, "called exit() while it was loaded");
        loading.active = true;
        struct sigaction action {};
        action.sa_handler = &on_alarm;
        ::sigaction(SIGALRM, &action, &before_);
        set_timer(limit);
    }
    ~LoadGuard() {
        set_timer(std::chrono::milliseconds{0});
        ::sigaction(SIGALRM, &before_, nullptr);
        loading.active = false;
    }
    LoadGuard(const LoadGuard&) = delete;
    LoadGuard& operator=(const LoadGuard&) = delete;

  private:
    static void set_timer(std::chrono::milliseconds limit) {
        itimerval timer{};
        timer.it_value.tv_sec = limit.count() / 1000;
        timer.it_value.tv_usec = limit.count() % 1000 * 1000;
        ::setitimer(ITIMER_REAL, &timer, nullptr);
    }

    struct sigaction before_ {};
};

base::Failure refuse(const std::string& path, const std::string& why) {
    return base::Failure{"task module " + path + ": " + why};
}

base::Status load_one(const std::string& path,
                      Registry& registry,
                      std::chrono::milliseconds limit) {
    if (base::Status fits = check_module_file(path); !fits) return fits;
    Tasks tasks;
    {
        const LoadGuard guard{path, limit};
        void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) return refuse(path, ::dlerror());
        const auto* entry =
            static_cast<const detail::ModuleEntry*>(::dlsym(library, "forkmill_module_v0"));
        if (entry == nullptr || entry->size != sizeof(detail::ModuleEntry) ||
            entry->abi != detail::kModuleAbi)
            return refuse(path, "exports no usable forkmill_module_v0");
        try {
            entry->bind(tasks);
        } catch (const std::exception& e) {
            return refuse(path, std::string{"its FORKMILL_MODULE threw: "} + e.what());
        } catch (...) {
            return refuse(path, "its FORKMILL_MODULE threw something that is not a std::exception");
        }
    }
    return registry.add(task_entries(tasks), path);
}

}  // namespace

base::Status load_modules(const std::vector<std::string>& names,
                          std::vector<std::string> directories,
                          Registry& registry,
                          std::chrono::milliseconds limit) {
    directories.push_back(supervisor::builtin_module_directory());
    for (const std::string& name : names) {
        base::Result<std::string> path = supervisor::find_module_file(name, directories);
        if (!path) return path.failure();
        if (base::Status loaded = load_one(path.value(), registry, limit); !loaded) return loaded;
        base::log_line(base::LogLevel::Info, "module loaded", {{"path", path.value()}});
    }
    return base::Done{};
}

}  // namespace forkmill::worker
