// SPDX-License-Identifier: Apache-2.0
#include "tests/supervision/supervised.h"

#include <algorithm>

namespace forkmill::e2e {

using test::wait_until;

void Supervised::TearDown() {
    pool_.reset();
    Site::TearDown();
}

Daemon& Supervised::start_pool(const BrokerWanted& wanted) {
    Daemon& broker = start_broker(wanted);
    pool_.emplace(wanted.listen.empty() ? ipc() : wanted.listen);
    const auto expected = static_cast<std::size_t>(wanted.workers);
    EXPECT_TRUE(wait_until([&] { return workers().size() == expected; }, kLimit))
        << test::read_text(broker.log);
    return broker;
}

std::vector<pid_t> Supervised::workers() const {
    std::vector<pid_t> pids;
    for (const WorkerInfo& worker : pool_->workers()) pids.push_back(worker.pid);
    std::sort(pids.begin(), pids.end());
    return pids;
}

bool Supervised::replaced(const std::vector<pid_t>& before, std::size_t count) const {
    std::size_t fresh = 0;
    for (const WorkerInfo& worker : pool_->workers()) {
        if (std::find(before.begin(), before.end(), worker.pid) != before.end()) return false;
        fresh += worker.state == "idle" ? 1 : 0;
    }
    return fresh == count;
}

std::string Supervised::state_of(pid_t wanted) const {
    for (const WorkerInfo& worker : pool_->workers())
        if (worker.pid == wanted) return worker.state;
    return {};
}

bool Supervised::in_log(const Daemon& daemon, const std::string& words) const {
    return test::read_text(daemon.log).find(words) != std::string::npos;
}

int Supervised::times_in_log(const Daemon& daemon, const std::string& words) const {
    const std::string log = test::read_text(daemon.log);
    int times = 0;
    for (std::size_t at = 0; (at = log.find(words, at)) != std::string::npos; ++at) ++times;
    return times;
}

std::vector<int> Supervised::noted(std::size_t count) const {
    EXPECT_TRUE(wait_until([&] { return numbers_in(notes()).size() >= count; }, kLimit));
    return numbers_in(notes());
}

}  // namespace forkmill::e2e
