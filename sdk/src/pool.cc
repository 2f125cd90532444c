// SPDX-License-Identifier: Apache-2.0
#include "forkmill/pool.h"

#include <climits>

#include "forkmill/errors.h"

namespace forkmill {
inline namespace v0 {

namespace {

bool has_defaults(const TaskOptions& options) {
    const TaskOptions none;
    return options.queue != none.queue || options.priority != none.priority ||
           options.soft_timeout != none.soft_timeout || options.timeout != none.timeout ||
           options.delay != none.delay || options.deadline ||
           options.max_retries != none.max_retries || options.crash_limit != none.crash_limit ||
           options.at_most_once || options.detached || !options.key.empty();
}

}  // namespace

PoolOptions Pool::with_workers(long long workers) {
    if (workers < 1 || workers > INT_MAX)
        throw UsageError("a pool has at least one worker; asked for " + std::to_string(workers));
    PoolOptions options;
    options.workers = static_cast<int>(workers);
    return options;
}

PoolOptions Pool::with_endpoint(std::string_view endpoint) {
    PoolOptions options;
    options.endpoint = endpoint;
    return options;
}

Pool::Pool(PoolOptions options) : client_(detail::open_client(options)) {
    if (has_defaults(options.defaults))
        defaults_ = std::make_unique<detail::Defaults>(std::move(options.defaults));
}

Pool::Pool(detail::ClientPtr borrowed) : client_(std::move(borrowed)), borrowed_(true) {}

Pool::~Pool() {
    if (!borrowed_) detail::destroy_client(*client_);
}

const detail::ClientPtr& detail::client_of(const Pool& pool) {
    return pool.client_;
}

std::vector<WorkerInfo> Pool::workers() const {
    return detail::workers_of(*client_);
}
void Pool::close() {
    detail::close_client(*client_);
}
void Pool::terminate() {
    detail::terminate_client(*client_);
}
void Pool::join(Duration timeout) {
    if (!detail::join_client(*client_, timeout)) throw TimeoutError("the pool has not ended yet");
}

}  // namespace v0
}  // namespace forkmill
