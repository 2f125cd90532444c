// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/worker_program.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace forkmill::supervisor {
namespace {

WorkerProgram example() {
    WorkerProgram program;
    program.argv = {"/bin/true", "-v"};
    program.rules.workers = 3;
    program.rules.modules = {"demo_module"};
    program.rules.environment = {{"ROUND", "1"}};
    program.rules.privileges.account = Account{"somebody", "/srv/somebody", 5, 6, {}};
    program.birth.pool = "images";
    program.birth.endpoint = "tcp://head:7700";
    return program;
}

bool has(const std::vector<std::string>& texts, const std::string& text) {
    return std::find(texts.begin(), texts.end(), text) != texts.end();
}

TEST(WorkerProgram, ItsCommandTellsTheChildItsPlaceAndItsRules) {
    const PoolSpec pool = pool_of(example());
    EXPECT_EQ(pool.name, "images");
    EXPECT_EQ(pool.workers, 3U);
    const base::Result<Command> command = pool.command(ChildEnv{7, 8, 2, 4, 9});
    ASSERT_TRUE(command.ok());
    EXPECT_EQ(command.value().argv, (std::vector<std::string>{"/bin/true", "-v"}));
    const std::vector<std::string>& environment = command.value().environment;
    EXPECT_TRUE(has(environment, "ROUND=1"));
    EXPECT_TRUE(has(environment, "HOME=/srv/somebody"));
    EXPECT_TRUE(has(environment, "FORKMILL_CHANNEL_FD=7"));
    EXPECT_TRUE(has(environment, "FORKMILL_BIRTH_SCOREBOARD=8 4"));
    EXPECT_TRUE(has(environment, "FORKMILL_BIRTH_NUMBERS=2 4 9 1 0 60000 10000 0 0"));
    EXPECT_TRUE(has(environment, "FORKMILL_BIRTH_QUEUES=default"));
    EXPECT_TRUE(has(environment, "FORKMILL_BIRTH_MODULES=demo_module"));
    EXPECT_TRUE(command.value().privileges.account.has_value());
}

TEST(WorkerProgram, AnUplinkKeepsTheMastersUser) {
    WorkerProgram program = example();
    program.birth.role = "uplink";
    const base::Result<Command> command = command_of(program)(ChildEnv{});
    ASSERT_TRUE(command.ok());
    EXPECT_FALSE(command.value().privileges.account.has_value());
    EXPECT_FALSE(has(command.value().environment, "HOME=/srv/somebody"));
    EXPECT_TRUE(has(command.value().environment, "ROUND=1"));
}

TEST(WorkerProgram, ItsIdentityChangesWithWhatALiveWorkerCannotChange) {
    const std::string before = identity_of(example());
    EXPECT_EQ(identity_of(example()), before);
    const std::vector<std::function<void(WorkerProgram&)>> changes{
        [](WorkerProgram& p) { p.argv[0] = "/bin/false"; },
        [](WorkerProgram& p) { p.rules.threads = 2; },
        [](WorkerProgram& p) { p.rules.arguments = {"-q"}; },
        [](WorkerProgram& p) { p.rules.environment[0].second = "2"; },
        [](WorkerProgram& p) { p.rules.queues = {"gpu"}; },
        [](WorkerProgram& p) { p.rules.modules = {"/bin/true"}; },
        [](WorkerProgram& p) { p.rules.finish_orphaned = true; },
        [](WorkerProgram& p) { p.rules.privileges.account.reset(); },
        [](WorkerProgram& p) { p.birth.endpoint = "tcp://other:7700"; },
        [](WorkerProgram& p) { p.birth.server_key = "key"; }};
    for (std::size_t i = 0; i < changes.size(); ++i) {
        WorkerProgram changed = example();
        changes[i](changed);
        EXPECT_NE(identity_of(changed), before) << "change " << i;
    }
    WorkerProgram grown = example();
    grown.rules.workers = 9;
    grown.rules.drain_timeout = std::chrono::seconds{1};
    EXPECT_EQ(identity_of(grown), before) << "sizes and deadlines hold at once";
}

}  // namespace
}  // namespace forkmill::supervisor
