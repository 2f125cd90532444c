// SPDX-License-Identifier: Apache-2.0
// open_client: from PoolOptions to the session they ask for, embedded or with a daemon.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "core/base/identity.h"
#include "core/net/client_transport.h"
#include "core/net/endpoint.h"
#include "forkmill/errors.h"
#include "forkmill/pool.h"
#include "sdk/local/embedded.h"
#include "sdk/local/host_limits.h"
#include "sdk/local/lock_memory.h"
#include "sdk/local/open_session.h"
#include "sdk/src/client_log.h"
#include "worker/embedded.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

std::string endpoint_of(const PoolOptions& options) {
    if (!options.endpoint.empty()) return options.endpoint;
    if (options.workers == 0) {
        const char* set = std::getenv("FORKMILL_ENDPOINT");
        if (set != nullptr && *set != '\0') return set;
    }
    return "local:";
}

void check(const PoolOptions& options, const net::Endpoint& endpoint) {
    if (options.workers < 0)
        throw UsageError{"a pool has at least one worker; .workers is " +
                         std::to_string(options.workers)};
    if (options.threads < 1)
        throw UsageError{"a worker has at least one thread; .threads is " +
                         std::to_string(options.threads)};
    if (options.max_tasks_per_child && *options.max_tasks_per_child < 1)
        throw UsageError{"max_tasks_per_child is at least 1; it is " +
                         std::to_string(*options.max_tasks_per_child)};
    if (endpoint.scheme == net::Scheme::Local) {
        if (options.workers > static_cast<int>(net::kLocalWorkersMax))
            throw UsageError{"a local pool has at most " + std::to_string(net::kLocalWorkersMax) +
                             " workers"};
        if (options.workers > 0 && endpoint.workers != 0)
            throw UsageError{
                "the number of workers is said twice: in .workers and in the endpoint"};
        return;
    }
    if (options.workers > 0 || options.threads > 1 || options.max_tasks_per_child ||
        options.initializer)
        throw UsageError{
            "workers, threads, initializer and max_tasks_per_child of a daemon's pool are set in "
            "its YAML, not by a client"};
}

/// What the workers' snapshot knows; the rest is refused as NotInSnapshot when it is submitted.
std::vector<TaskEntry> known_entries(const Tasks& tasks, const local::Snapshot& snapshot) {
    std::vector<TaskEntry> known;
    for (const TaskEntry& entry : task_entries(tasks)) {
        if (snapshot.has(entry)) known.push_back(entry);
    }
    return known;
}

void set_initializer(local::Plan& plan,
                     const Initializer& initializer,
                     const local::Snapshot& snapshot) {
    if (!initializer) return;
    if (!snapshot.has(initializer.function) ||
        !snapshot.has(reinterpret_cast<const void*>(initializer.thunk)))
        throw_code(
            wire::Code::NotInSnapshot,
            "the initializer is in a library that was loaded after the workers' snapshot was taken",
            wire::Ran::No);
    plan.initializer = initializer.function;
    plan.initializer_thunk = initializer.thunk;
    plan.initargs = initializer.arguments;
}

ClientPtr open_local(const PoolOptions& options, std::uint32_t workers) {
    std::shared_ptr<local::ForkHost> host = local::ForkHost::get();
    local::Plan plan;
    plan.host_key = "embedded:" + std::to_string(::getpid());
    plan.pool = "pool";
    plan.threads = static_cast<std::uint32_t>(options.threads);
    plan.max_tasks_per_child = static_cast<std::uint32_t>(options.max_tasks_per_child.value_or(0));
    plan.tasks = worker::pack_task_entries(known_entries(options.tasks, host->snapshot()));
    set_initializer(plan, options.initializer, host->snapshot());
    std::shared_ptr<net::Wakeup> wakeup;
    ClientPtr client = local::make_client(options.dispatcher, base::random_number(), wakeup);
    client->set_lock_words(local::all_lock_words());
    client->set_backend(std::make_shared<local::Embedded>(
        *client, std::move(host), std::move(plan), workers, std::move(wakeup)));
    return client;
}

ClientPtr open_remote(const PoolOptions& options, const net::Endpoint& endpoint) {
    Way way;
    way.endpoint = net::to_string(endpoint);
    way.keys = net::or_environment({options.server_key, options.key_file});
    base::Result<std::unique_ptr<net::Transport>> transport =
        net::make_client_transport(endpoint, way.keys);
    if (!transport.ok()) throw UsageError{transport.failure().text};
    return local::open_session(options.dispatcher,
                               {base::random_session(), base::random_number()},
                               std::move(transport).value(),
                               std::move(way));
}

}  // namespace

ClientPtr open_client(const PoolOptions& options) {
    base::Result<net::Endpoint> endpoint = net::parse_endpoint(endpoint_of(options));
    if (!endpoint.ok()) throw UsageError{endpoint.failure().text};
    check(options, endpoint.value());
    if (endpoint.value().scheme != net::Scheme::Local)
        return open_remote(options, endpoint.value());
    std::uint32_t workers = static_cast<std::uint32_t>(options.workers);
    if (workers == 0) workers = endpoint.value().workers;
    if (workers == 0) workers = local::usable_cpus();
    return open_local(options, workers);
}

}  // namespace detail

void init(int&, char**&) {
    local::ForkHost::pin();
}

}  // namespace v0
}  // namespace forkmill
