// SPDX-License-Identifier: Apache-2.0
// The hot path takes nothing from the heap once it is warm (semantics.md 23).
#pragma GCC diagnostic ignored \
    "-Wmismatched-new-delete"  // The replaced operators pair malloc with free on purpose.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <vector>

#include "broker/engine/engine.h"
#include "broker/engine/status.h"

namespace {
std::size_t allocations = 0;
}

void* operator new(std::size_t size) {
    ++allocations;
    void* block = std::malloc(size);
    if (block == nullptr) throw std::bad_alloc{};
    return block;
}
void operator delete(void* block) noexcept {
    std::free(block);
}
void operator delete(void* block, std::size_t) noexcept {
    std::free(block);
}

namespace forkmill::engine {

TEST(Allocation, NoTaskCostsOneInTheSteadyState) {
    Engine engine{Config{}, 1, base::Time{}, 1};
    Effects effects;
    base::Time now{};
    SessionInfo info;
    info.stream = 7;
    SessionIx client = 0, worker = 0;
    engine.open_session(info, now, effects, client);
    info.role = wire::Role::Worker;
    info.stream = 8;
    info.queues = {"default"};
    info.offers = {{"noop", ""}};
    engine.open_session(info, now, effects, worker);
    wire::TemplateDef def;
    def.name = "noop";
    engine.define_template(client, def);
    const base::Body body = base::Body::of(base::bytes_of("thirty-two bytes of arguments..."));
    std::vector<Lease> leases;
    std::uint64_t seq = 1, ended = 0;
    const auto turn = [&] {
        now += std::chrono::microseconds{100};
        for (int i = 0; i < 256; ++i)
            engine.submit(client, 0, seq++, body, nullptr, false, now, 0, effects);
        engine.schedule(now, effects);
        for (const Effect& effect : effects.list) {
            if (effect.kind == Effect::Kind::Assign) leases.push_back(effect.lease);
            if (effect.kind == Effect::Kind::Outcome) ++ended;
        }
        effects.clear();
        for (const Lease lease : leases)
            engine.settle(worker,
                          lease,
                          wire::Outcome::Succeeded,
                          wire::Code::None,
                          false,
                          body,
                          std::chrono::microseconds{1},
                          now,
                          effects);
        leases.clear();
        engine.collect();
    };
    for (int i = 0; i < 50; ++i) turn();
    const std::size_t before = allocations;
    const std::uint64_t ended_before = ended;
    for (int i = 0; i < 100; ++i) turn();
    EXPECT_EQ(ended - ended_before, 100U * 256U);
    EXPECT_EQ(allocations - before, 0U);
}

}  // namespace forkmill::engine
