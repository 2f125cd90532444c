// SPDX-License-Identifier: Apache-2.0
// A crowd at few objects, whatever it does, keeps every invariant: the engine's own check runs
// after each step.
#include <array>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/base/lock_words.h"
#include "tests/support/wait_until.h"
#include "tests/unit/engine/sharing.h"

namespace forkmill::engine::test {

namespace {

/// What is asked of each kind, as often as it stands there.
const std::map<Kind, std::vector<Verb>>& usual_verbs() {
    static const std::map<Kind, std::vector<Verb>> verbs{
        {Kind::Queue, {Verb::Put, Verb::Put, Verb::Get, Verb::Get, Verb::Done, Verb::Join}},
        {Kind::Lock, {Verb::Acquire, Verb::Acquire, Verb::Release, Verb::Release}},
        {Kind::Semaphore, {Verb::Acquire, Verb::Acquire, Verb::Release}},
        {Kind::Condition, {Verb::Wait, Verb::Notify}},
        {Kind::Event, {Verb::Wait, Verb::Notify, Verb::Reset, Verb::Watch}},
        {Kind::Barrier, {Verb::Wait, Verb::Wait, Verb::Wait, Verb::Release, Verb::Reset}},
        {Kind::Dict, {Verb::Read, Verb::Write, Verb::Erase, Verb::Watch}},
        {Kind::List, {Verb::Read, Verb::Write}},
        {Kind::Array, {Verb::Read, Verb::Write, Verb::Swap, Verb::Watch}},
    };
    return verbs;
}

/// Half of the seeds take the lock by its word, too.
struct CrowdConfig {
    std::array<base::LockWord, 1> memory;
    base::LockWords words{memory};
    Config config;
    explicit CrowdConfig(std::uint64_t seed) {
        config.object_waits_per_session_max = 12;
        if (seed % 2 == 0) config.lock_words = &words;
    }
};

/// Everybody has handles of one object of each kind, and what is asked mostly makes sense, so lines
/// are long.
class Crowd : CrowdConfig, public Sharing {
  public:
    explicit Crowd(std::uint64_t seed) : CrowdConfig(seed), Sharing(config), random_(seed) {
        for (int i = 0; i < 4; ++i) sessions_.push_back(client());
        lock_ = lock(sessions_[0], below(2) == 0 ? wire::kOpReentrant : 0U);
        objects_.emplace_back(Kind::Lock, lock_);
        for (const auto& [kind, some] : usual_verbs()) {
            if (kind == Kind::Lock) continue;
            const auto flags = static_cast<std::uint32_t>((below(2) * wire::kOpLeased) |
                                                          (below(2) * wire::kOpAction));
            const wire::ObjectShape shape{
                .kind = kind, .capacity = 3, .initial = below(2), .lock = lock_};
            objects_.emplace_back(kind, open(sessions_[0], shape, flags));
        }
        for (const SessionIx session : sessions_) join(session);
    }

    void happen() {
        SessionIx& who = sessions_[below(sessions_.size())];
        const std::uint64_t dice = below(60);
        if (dice == 0 && &who != sessions_.data()) {
            close(who);
            who = client();
            join(who);
        } else if (dice < 3) {
            disconnect(who);
        } else if (dice < 6) {
            reconnect(who);
        } else if (dice < 8) {
            writable(who, below(2) == 0);
        } else if (dice < 10) {
            pass(std::chrono::milliseconds{below(4000)});
        } else if (dice < 20 && config.lock_words != nullptr) {
            use_word(who);
        } else if (dice < 22 && !asked_.empty()) {
            ask(who, {.verb = Verb::Interrupt, .token = asked_[below(asked_.size())]});
        } else {
            operate(who);
        }
    }

    void leave() {
        for (const SessionIx who : sessions_) close(who);
    }

  private:
    std::uint64_t below(std::uint64_t n) { return random_() % n; }

    void join(SessionIx who) {
        for (const auto& [kind, id] : objects_) {
            const auto opened = ask(who, {.verb = Verb::Open, .object = id});
            if (id == lock_) marks_[who] = static_cast<std::uint32_t>(answer(opened).count);
        }
    }

    void use_word(SessionIx who) {
        if (const auto hold = memory[0].take(memory[0].use(), marks_[who], 1 + below(2))) {
            EXPECT_GT(hold->token, held_.token);
            held_ = *hold;
        } else {
            memory[0].give(memory[0].use(), held_.mark, held_.token);
        }
        step("by the word");
    }

    void operate(SessionIx who) {
        const auto& [kind, id] = objects_[below(objects_.size())];
        const std::vector<Verb>& some = usual_verbs().at(kind);
        const auto op = ask(who,
                            {.verb = some[below(some.size())],
                             .object = id,
                             .flags = static_cast<std::uint32_t>(below(2) * wire::kOpOld),
                             .owner = below(2),
                             .timeout = below(3) == 0 ? base::Duration{-1} : base::Duration{1500ms},
                             .token = below(3) == 0 ? tokens_[below(tokens_.size())] : 0,
                             .index = static_cast<std::int64_t>(below(2)),
                             .count = below(4),
                             .items = {{"k" + std::to_string(below(3)), "value"}}});
        asked_.push_back(op);
        if (!waiting(op) && answer(op).token != 0) tokens_.push_back(answer(op).token);
    }

    std::mt19937_64 random_;
    std::vector<SessionIx> sessions_;
    std::vector<std::pair<Kind, ObjectId>> objects_;
    ObjectId lock_ = 0;
    std::map<SessionIx, std::uint32_t> marks_;
    base::LockWord::Hold held_;
    std::vector<std::uint64_t> asked_;
    std::vector<std::uint64_t> tokens_{0};
};

}  // namespace

TEST(ObjectModel, ACrowdAtFewObjectsKeepsEveryInvariant) {
    for (int seed = 1; seed <= forkmill::test::full_or_twentieth(4000); ++seed) {
        Crowd crowd{static_cast<std::uint64_t>(seed)};
        for (int i = 0; i < 400; ++i) {
            crowd.happen();
            if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << ", step " << i;
        }
        crowd.leave();
        ASSERT_EQ(crowd.engine->snapshot(crowd.now).memory_used, 0U) << "seed " << seed;
        ASSERT_EQ(crowd.objects(), 0U) << "seed " << seed;
    }
}

}  // namespace forkmill::engine::test
