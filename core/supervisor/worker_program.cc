// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/worker_program.h"

#include <cstdlib>
#include <utility>

#include "core/supervisor/module_store.h"

namespace forkmill::supervisor {

namespace {

WorkerBirth birth_of(const WorkerProgram& program, const ChildEnv& child) {
    WorkerBirth birth = program.birth;
    set_rules(birth, program.rules);
    birth.channel_fd = child.channel_fd;
    birth.scoreboard_fd = child.scoreboard_fd;
    birth.scoreboard_slot = child.slot;
    birth.pool_index = child.pool;
    birth.slot = child.slot;
    birth.birth = child.generation;
    if (child.slot == kForkServerSlot) birth.role = "forkserver";
    return birth;
}

}  // namespace

CommandBuilder command_of(WorkerProgram program) {
    return
        [program = std::move(program)](const ChildEnv& child) -> base::Result<supervisor::Command> {
            Command command;
            command.argv = program.argv;
            if (program.birth.role == "worker") command.privileges = program.rules.privileges;
            command.environment = environment_of(command.privileges);
            if (child.slot == kForkServerSlot && std::getenv("GLIBC_TUNABLES") == nullptr)
                command.environment.emplace_back(kHugePages);
            for (const auto& [name, value] : program.rules.environment)
                command.environment.push_back(name + "=" + value);
            for (std::string& variable : to_environment(birth_of(program, child)))
                command.environment.push_back(std::move(variable));
            return command;
        };
}

std::string identity_of(const WorkerProgram& program) {
    const WorkerRules& rules = program.rules;
    const WorkerBirth& birth = program.birth;
    std::string identity = identity_of_file(program.argv.front());
    const auto add = [&](const std::string& text) { identity += "\n" + text; };
    for (const std::string& text :
         {birth.endpoint, birth.pool, birth.server_key, birth.key_file, birth.host})
        add(text);
    add(std::to_string(rules.threads) + " " + std::to_string(rules.max_tasks_per_child) + " " +
        std::to_string(rules.hung_timeout.count()) + " " +
        std::to_string(rules.slowlog_timeout.count()) + " " +
        std::to_string(rules.finish_orphaned ? 1 : 0) + " " +
        std::to_string(rules.fork_server ? 1 : 0) + " " + to_text(rules.privileges));
    for (const std::string& argument : rules.arguments) add(argument);
    for (const auto& [name, value] : rules.environment) add(name + "=" + value);
    for (const std::string& queue : rules.queues) add(queue);
    for (const std::string& module : rules.modules) add(identity_of_file(module));
    return identity;
}

PoolSpec pool_of(WorkerProgram program) {
    PoolSpec pool;
    pool.name = program.birth.pool;
    set_rules(pool, program.rules);
    pool.identity = identity_of(program);
    pool.fork_identity = pool.identity + "\n" + program.birth.log_level + "\n" +
                         std::to_string(program.rules.drain_timeout.count());
    pool.command = command_of(std::move(program));
    return pool;
}

}  // namespace forkmill::supervisor
