// SPDX-License-Identifier: Apache-2.0
// RespawnPolicy: when a dead worker is started again; RelayPolicy: the same for the relay.
//
// Invariants: (1) ends that were wanted, or that a task caused, cost nothing; (2) a worker that
// ends early again and again waits longer and longer, and a pool of such workers shrinks to one
// probe at a time (the breaker): a crash loop forks at most workers + 16 times in 60 s; (3) births
// never exceed `births_per_second`; (4) nothing is ever given up silently: exit 78 is a verdict.
// Pure: time comes in, the seed decides the jitter. Threading: one owner.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "core/base/backoff.h"
#include "core/base/time.h"
#include "core/supervisor/exit_codes.h"

namespace forkmill::supervisor {

struct RespawnRule {
    base::BackoffRule delay{.first = std::chrono::milliseconds{100},
                            .max = std::chrono::seconds{30}};
    base::Duration min_uptime =
        std::chrono::seconds{10};                   ///< A shorter life without one task is early.
    base::Duration slow = std::chrono::seconds{1};  ///< Least wait after exit 75.
    base::Duration window = std::chrono::seconds{60};  ///< In which early deaths are counted.
    std::uint32_t breaker_least = 3;                   ///< It opens at max(this, workers) of them.
    base::Duration refill_step = std::chrono::milliseconds{500};  ///< 1, 2, 4 … births per step.
    std::uint32_t refill_max = 32;
    std::uint32_t births_per_second = 50;  ///< With a burst of max(this, workers).
};

/// How a worker ended.
struct Ending {
    bool wanted = false;  ///< It left on purpose, or was told to, or was killed by order.
    bool was_ready = false;
    bool in_task = false;  ///< A lease was running: the task did it.
    bool current = true;   ///< Started under the config that is in force.
    std::uint64_t tasks_done = 0;
    base::Duration uptime{};
    int exit_code = -1;  ///< −1: by a signal.
};

struct Verdict {
    enum class Kind : std::uint8_t {
        Now,    ///< The place may be filled at once, as far as may_launch() says.
        After,  ///< The slot waits for `delay`.
        Never,  ///< Starting it again cannot help.
    };
    Kind kind = Kind::Now;
    base::Duration delay{};
};

class RespawnPolicy {
  public:
    enum class Breaker : std::uint8_t { Closed, Open, Refilling };

    RespawnPolicy(const RespawnRule& rule, std::uint32_t slots, std::uint64_t seed);

    Verdict on_death(std::uint32_t slot,
                     const Ending& ending,
                     std::uint32_t workers,
                     base::Time now);
    void on_ready(std::uint32_t slot, base::Time now);
    /// Every worker that is wanted is ready: the trouble is over.
    void on_full();
    /// A new config: what went before says nothing about it.
    void forgive();

    /// May one more be started, while `starting` are not ready yet? Call on_launch() for each.
    bool may_launch(std::uint32_t starting, std::uint32_t workers, base::Time now);
    void on_launch();
    /// When may_launch() can next turn true by time alone; kNever: it waits for an event.
    base::Time next_change(std::uint32_t starting, base::Time now) const;

    Breaker breaker() const { return breaker_; }

  private:
    Verdict on_early_death(std::uint32_t slot,
                           const Ending& ending,
                           std::uint32_t workers,
                           base::Time now);
    void refill_bucket(std::uint32_t workers, base::Time now);

    RespawnRule rule_;
    std::vector<base::Backoff> slots_;
    base::Backoff probe_;
    std::deque<base::Time> early_;  ///< Early deaths in the window.
    Breaker breaker_ = Breaker::Closed;
    base::Time launch_at_{};       ///< Open: of the next probe. Refilling: of the next step.
    std::uint32_t allowance_ = 1;  ///< Births of this refill step,
    std::uint32_t launched_ = 0;   ///< and how many of them were made.
    bool proof_is_life_ = false;   ///< Workers died after Up: a probe must live, not just come up.
    double bucket_ = -1;           ///< Births that may be made at once; −1: not used yet.
    base::Time bucket_at_{};
};

struct RelayRule {
    base::BackoffRule delay{.first = std::chrono::milliseconds{100},
                            .max = std::chrono::seconds{5}};
    base::Duration min_uptime = std::chrono::seconds{10};  ///< After a longer life: at once again.
    base::Duration window = std::chrono::seconds{60};
    std::uint32_t deaths_max = 10;  ///< In the window; then it gives up.
};

/// The relay must run: it is started again at once, then with growing waits, until its deaths are
/// so many that somebody above has to look (exit 70).
class RelayPolicy {
  public:
    RelayPolicy(const RelayRule& rule, std::uint64_t seed);

    /// The wait before the next start. Check gives_up() first.
    base::Duration on_death(base::Duration uptime, base::Time now);
    bool gives_up() const { return deaths_.size() >= rule_.deaths_max; }

  private:
    RelayRule rule_;
    base::Backoff backoff_;
    std::deque<base::Time> deaths_;
    bool first_ = true;
};

}  // namespace forkmill::supervisor
