// SPDX-License-Identifier: Apache-2.0
#include "worker/worker_process.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <utility>

#include "core/base/identity.h"
#include "core/base/log.h"
#include "core/net/client_transport.h"
#include "core/supervisor/birth_server.h"
#include "core/supervisor/fork_server.h"
#include "core/supervisor/last_will.h"
#include "core/supervisor/process_title.h"
#include "core/supervisor/stack_dump.h"
#include "worker/module_loader.h"
#include "worker/task_runner.h"
#include "worker/worker_loop.h"

namespace forkmill::worker {

namespace {

constexpr int kFailed = 1;

void tell(supervisor::Channel& channel,
          std::uint16_t pool,
          supervisor::Verb verb,
          std::string_view text = {}) {
    supervisor::Notice notice;
    notice.verb = verb;
    notice.pool = pool;
    notice.set_text(text);
    channel.post(notice);
}

int fail(supervisor::Channel& channel,
         const supervisor::WorkerBirth& birth,
         const std::string& why) {
    std::fprintf(stderr, "forkmill-worker: %s\n", why.c_str());
    std::fflush(stderr);
    tell(channel, birth.pool_index, supervisor::Verb::Failed, why);
    return kFailed;
}

/// Workers that start together would all leave together: the first of each slot gets up to a half
/// less. The fractions of multiples of the golden ratio spread evenly for any number of slots.
std::uint32_t task_budget(const supervisor::WorkerBirth& birth) {
    constexpr double kGoldenRatio = 0.6180339887498949;
    if (birth.birth > 1) return birth.max_tasks_per_child;
    double whole = 0;
    const double share = std::modf(birth.slot * kGoldenRatio, &whole) / 2;
    return birth.max_tasks_per_child -
           static_cast<std::uint32_t>(share * birth.max_tasks_per_child);
}

/// What the initializer threw, in words; empty when it did not.
std::string run_initializer(const std::function<void()>& initializer) {
    if (!initializer) return {};
    try {
        initializer();
        return {};
    } catch (...) {
        return "the initializer threw " + describe_exception(std::current_exception());
    }
}

CoreConfig core_config(const supervisor::WorkerBirth& birth, const Registry& registry) {
    CoreConfig config;
    config.seed = base::random_number();
    config.leave_limit =
        std::chrono::milliseconds{birth.drain_timeout_ms == 0 ? 60'000 : birth.drain_timeout_ms};
    config.slowlog_timeout = std::chrono::milliseconds{birth.slowlog_timeout_ms};
    wire::Hello& hello = config.hello;
    hello.session = base::random_session();
    hello.stream = base::random_number();
    hello.host = birth.host.empty() ? base::host_name() : birth.host;
    hello.pid = ::getpid();
    hello.build = registry.build();
    hello.pool = birth.pool;
    hello.slot = birth.slot;
    hello.birth = birth.birth;
    hello.host_key = birth.host_key;
    hello.threads = std::max(1U, birth.threads);
    hello.offers = registry.offers();
    hello.queues = birth.queues;
    if (hello.queues.empty()) hello.queues.emplace_back("default");
    return config;
}

/// All of the user's code that runs before the first task. Tasks and their threads may outlive the
/// worker's loop, up to _exit: what they refer to is never freed.
base::Result<Registry*> prepare(const supervisor::WorkerBirth& birth, const UserCode& code) {
    auto* registry = new Registry;
    if (base::Status bound = registry->add(code.tasks, "the program"); !bound)
        return bound.failure();
    if (base::Status loaded = load_modules(birth.modules, birth.module_path, *registry); !loaded)
        return loaded.failure();
    registry->add_loaded_images();
    if (const std::string why = run_initializer(code.initializer); !why.empty())
        return base::Failure{why};
    return registry;
}

/// Takes tasks until it is told to leave; the exit code.
int work(ProcessSetup setup, Registry* registry) {
    const supervisor::WorkerBirth& birth = setup.birth;
    tell(setup.channel, birth.pool_index, supervisor::Verb::Up);
    auto transport = setup.connect();
    if (!transport) return fail(setup.channel, birth, transport.failure().text);

    LoopSetup loop;
    loop.transport = std::move(transport).value();
    loop.adopted = setup.adopted;
    loop.channel = &setup.channel;
    loop.finish_orphaned = birth.finish_orphaned;
    loop.cells = setup.cells;
    loop.lock_words = setup.lock_words;
    loop.pool_index = birth.pool_index;
    loop.title = setup.title;
    loop.max_tasks_per_child = task_budget(birth);
    loop.turn_at_least = std::min<base::Duration>(
        loop.turn_at_least, std::chrono::milliseconds{birth.hung_timeout_ms} / 4);
    loop.core = core_config(birth, *registry);
    loop.registry = registry;
    loop.make_runner = [host = loop.core.hello.host](detail::ClientPtr nested) {
        return make_task_runner(host, std::move(nested));
    };
    auto* worker = new WorkerLoop{std::move(loop)};
    return worker->run();
}

/// What a master's own worker begins with, but for its code.
ProcessSetup setup_of(supervisor::WorkerBirth birth,
                      supervisor::Channel channel,
                      supervisor::Scoreboard& scoreboard) {
    ProcessSetup setup;
    setup.title = "forkmill-worker: " + birth.pool + "/" + std::to_string(birth.slot);
    supervisor::set_process_title(setup.title);
    base::LogLevel level = base::LogLevel::Info;
    if (birth.log_level == "debug") level = base::LogLevel::Debug;
    if (birth.log_level == "warning") level = base::LogLevel::Warning;
    if (birth.log_level == "error") level = base::LogLevel::Error;
    static_cast<void>(base::log_start({.name = "worker", .level = level, .file = {}}));
    setup.channel = std::move(channel);
    if (birth.scoreboard_slot < scoreboard.slots())
        setup.cells = &scoreboard.cells(birth.scoreboard_slot);
    setup.connect = [text = birth.endpoint,
                     keys = net::KeyNames{birth.server_key, birth.key_file}]()
        -> base::Result<std::unique_ptr<net::Transport>> {
        const auto endpoint = net::parse_endpoint(text);
        if (!endpoint) return endpoint.failure();
        return net::make_client_transport(endpoint.value(), keys);
    };
    setup.birth = std::move(birth);
    return setup;
}

/// Of its pool; without one, a worker's deadlines are not watched.
supervisor::Scoreboard attach_scoreboard(const supervisor::WorkerBirth& birth) {
    if (birth.scoreboard_fd < 0) return {};
    ::fcntl(birth.scoreboard_fd, F_SETFD, FD_CLOEXEC);
    auto attached = supervisor::Scoreboard::attach(supervisor::OwnedFd{birth.scoreboard_fd});
    return attached ? std::move(attached).value() : supervisor::Scoreboard{};
}

}  // namespace

int run_worker(ProcessSetup setup) {
    supervisor::install_crash_dump();
    const base::Result<Registry*> registry = prepare(setup.birth, setup.code);
    if (!registry) return fail(setup.channel, setup.birth, registry.failure().text);
    return work(std::move(setup), registry.value());
}

int run_born_worker(supervisor::WorkerBirth birth, UserCode code) {
    supervisor::Channel channel{supervisor::OwnedFd{birth.channel_fd}};
    supervisor::Scoreboard scoreboard = attach_scoreboard(birth);
    ProcessSetup setup = setup_of(std::move(birth), std::move(channel), scoreboard);
    setup.code = std::move(code);
    supervisor::leave_forked(run_worker(std::move(setup)));
}

int run_born_fork_server(supervisor::WorkerBirth birth, const UserCode& code) {
    supervisor::set_process_title("forkmill-worker: " + birth.pool + " fork server");
    supervisor::install_crash_dump();
    supervisor::Channel channel{supervisor::OwnedFd{birth.channel_fd}};
    supervisor::Scoreboard scoreboard = attach_scoreboard(birth);
    const base::Result<Registry*> registry = prepare(birth, code);
    if (!registry) supervisor::leave_forked(fail(channel, birth, registry.failure().text));
    tell(channel, birth.pool_index, supervisor::Verb::Up);
    supervisor::serve_births(channel, [&](supervisor::NewBorn born) {
        supervisor::make_last_will(birth);
        supervisor::install_crash_dump();
        birth.slot = birth.scoreboard_slot = born.slot;
        birth.birth = born.generation;
        supervisor::leave_forked(work(
            setup_of(std::move(birth), std::move(born.channel), scoreboard), registry.value()));
        return 0;
    });
    supervisor::leave_forked(0);
}

}  // namespace forkmill::worker
