// SPDX-License-Identifier: Apache-2.0
// A small schema for the reader's tests: one key of every type, sections, and a rule about two
// keys.
#pragma once

#include <string>
#include <vector>

#include "core/base/config_reader.h"

namespace forkmill::test {

enum class Loss { Cancel, Keep };

struct SamplePool {
    std::string name;
    int workers = 0;
    bool pinned = false;
    std::vector<std::string> queues;
    std::vector<std::pair<std::string, std::string>> environment;
};

struct Sample {
    std::string state_dir;
    std::vector<std::string> listen;
    base::Duration ping{};
    base::Duration gone{};
    Loss on_loss = Loss::Cancel;
    std::uint64_t memory = 0;
    std::vector<SamplePool> pools;
};

inline Sample read_sample(base::ConfigReader& config) {
    using namespace std::chrono_literals;
    base::ConfigSection root = config.root();
    Sample sample;
    sample.state_dir = root.text("state_dir", {.fallback = "state"});
    sample.listen = root.texts("listen", {.fallback = {"tcp://127.0.0.1:7700"}, .min_items = 1});
    base::ConfigSection sessions = root.section("sessions");
    sample.ping = sessions.duration("ping_after", {.min = 1ms, .fallback = 2s});
    sample.gone = sessions.duration("gone_after", {.min = 1ms, .fallback = 8s});
    sample.on_loss = sessions.choice<Loss>(
        "on_client_lost", {{"cancel", Loss::Cancel}, {"keep", Loss::Keep}}, Loss::Cancel);
    if (sample.gone < 3 * sample.ping) {
        sessions.problem("gone_after",
                         "less than 3 × ping_after (" + sessions.origin("ping_after") +
                             "); expected at least 3 × ping_after");
    }
    sample.memory = root.section("limits").size("memory", {.min = 1 << 20, .fallback = 1 << 30});
    for (auto& [name, pool] : root.named_sections("pools")) {
        SamplePool& read = sample.pools.emplace_back();
        read.name = name;
        read.workers = pool.integer("workers", {.min = 1, .max = 1024, .fallback = 4});
        read.pinned = pool.boolean("pinned", false);
        read.queues = pool.texts("queues", {.fallback = {"default"}});
        read.environment = pool.text_map("environment");
    }
    return sample;
}

}  // namespace forkmill::test
