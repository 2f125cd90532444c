// SPDX-License-Identifier: Apache-2.0
// BrokerNode: the router process of the world: engine and gateway of one incarnation at a time, and
// the master that tells it of births and deaths.
#pragma once

#include <memory>

#include "tests/sim/world.h"

namespace sim {

class BrokerNode {
  public:
    explicit BrokerNode(World& world) : world_(world) {}

    void start();
    void crash();
    bool up() const { return gateway_ != nullptr; }
    /// A peer dials; 0 while the broker is down.
    std::uint64_t accept(End client);
    /// The master's word on a worker; lost while the router is down.
    void notice(const forkmill::supervisor::Notice& notice);
    std::uint64_t incarnation() const { return incarnation_; }
    const forkmill::engine::Engine* engine() const { return engine_.get(); }
    forkmill::broker::Gateway* gateway() { return gateway_.get(); }
    /// Leases that workers of `slot` run are named by these; see WorkerNode.
    std::string check();
    /// What the broker knows of a task.
    std::string task_text(const forkmill::base::TaskId& task) const;

  private:
    void turn_soon();
    void turn();
    void arm();

    World& world_;
    std::uint64_t incarnation_ = 0;
    std::uint64_t life_ = 0;
    bool turn_due_ = false;
    Time armed_ = forkmill::base::kNever;
    std::unique_ptr<forkmill::engine::Engine> engine_;
    std::unique_ptr<forkmill::broker::Gateway> gateway_;
    std::map<std::uint64_t, bool> conns_;
};

}  // namespace sim
