// SPDX-License-Identifier: Apache-2.0
// BrokerConfig: broker.yaml as a plain struct. configs/broker.yaml documents every key; names are
// the same here, there, in flags and in metrics.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "broker/engine/config.h"
#include "core/base/config_reader.h"
#include "core/base/log.h"
#include "core/net/curve.h"
#include "core/supervisor/worker_rules.h"

namespace forkmill::broker {

struct PoolConfig : supervisor::WorkerRules {
    std::string name;
};

/// Who the broker is on tcp://, and who may connect there.
struct CurveConfig {
    net::CurveServer server;
    std::vector<net::AllowedKey> allowed;
};

/// Slots and notices count pools in 16 bits; nobody runs so many.
inline constexpr std::size_t kPoolsMax = 1024;

struct BrokerConfig {
    std::string state_dir;
    std::vector<std::string> listen;
    std::vector<std::string> module_path;
    base::LogLevel log_level = base::LogLevel::Info;
    std::string log_file;
    base::Duration ping_after{};
    base::Duration gone_after{};
    base::Duration shutdown_timeout{};
    std::string cgroup = "auto";       ///< See supervisor/cgroup.h.
    std::optional<CurveConfig> curve;  ///< As read from the files of security.curve.
    engine::Config engine;
    std::vector<PoolConfig> pools;

    /// Of the local workers, inside state_dir. A local socket: libzmq's threads would be two more
    /// hops each way.
    std::string worker_endpoint() const { return "unix://" + state_dir + "/workers.sock"; }
    /// The same for a pool; those of another user have a socket that only that user may use.
    std::string worker_endpoint(const PoolConfig& pool) const;
};

struct LoadedConfig {
    BrokerConfig config;
    std::vector<std::string>
        faults;         ///< Empty: the config is good. Else every fault of it, one line each.
    int exit_code = 0;  ///< Of a program that was given these faults; see ConfigReader.
    std::string dump;   ///< Effective values as YAML (-T).
};

LoadedConfig load_broker_config(const base::ConfigInput& input);

}  // namespace forkmill::broker
