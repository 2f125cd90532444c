// SPDX-License-Identifier: Apache-2.0
// The virtual world's clock and wires: events in order of time, connections that delay, duplicate,
// reorder, lose and are cut.
//
// Everything is decided by one seed. A real transport never loses a message without ending the
// connection, so a connection that lost one is cut soon after; duplicates and reorderings stand for
// what a broken relay could do and what the session layer must shrug off. Threading: none.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/time.h"

namespace sim {

using forkmill::base::Duration;
using forkmill::base::Message;
using forkmill::base::Time;

class Random {
  public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : engine_() % n; }
    bool chance(double p) { return static_cast<double>(engine_() >> 11) * 0x1.0p-53 < p; }
    Duration between(Duration low, Duration high) {
        return low + Duration{static_cast<std::int64_t>(
                         below(static_cast<std::uint64_t>((high - low).count()) + 1))};
    }
    std::uint64_t bits() { return engine_(); }

  private:
    std::mt19937_64 engine_;
};

class Clock {
  public:
    Time now() const { return now_; }
    void at(Time time, std::function<void()> act) {
        events_.push(Event{std::max(time, now_), next_++, std::move(act)});
    }
    void after(Duration delay, std::function<void()> act) { at(now_ + delay, std::move(act)); }
    /// Runs the next event; false when there is none before `end`.
    bool step(Time end) {
        if (events_.empty() || events_.top().time > end) return false;
        const std::function<void()> act = std::move(const_cast<Event&>(events_.top()).act);
        now_ = events_.top().time;
        events_.pop();
        act();
        return true;
    }

  private:
    struct Event {
        Time time;
        std::uint64_t order;
        std::function<void()> act;
        bool operator<(const Event& other) const {
            return time != other.time ? time > other.time : order > other.order;
        }
    };
    Time now_{std::chrono::seconds{1}};
    std::uint64_t next_ = 0;
    std::priority_queue<Event> events_;
};

struct NetworkFaults {
    double drop = 0;
    double duplicate = 0;
    double reorder = 0;
    Duration delay_max = std::chrono::milliseconds{3};
    Duration cut_mean{};  ///< Mean life of a connection; 0: it lives until somebody ends it.
};

/// What an end of a connection does with what arrives.
struct End {
    std::function<void(std::uint64_t conn, Message message)> on_message;
    std::function<void(std::uint64_t conn)> on_disconnected;
};

class Network {
  public:
    Network(Clock& clock, Random& random) : clock_(clock), random_(random) {}
    NetworkFaults faults;
    bool trace = false;  ///< Says on stderr what is sent, lost, cut and done (bin/sim --trace).
    void say(const std::string& what) const;

    std::uint64_t connect(End client, End server);
    /// `from_client`: which end speaks. Messages of a connection that ended vanish.
    void send(std::uint64_t conn, bool from_client, const Message& message);
    /// Ends it; each end that is told hears of it after a delay.
    void cut(std::uint64_t conn, bool tell_client, bool tell_server);
    bool alive(std::uint64_t conn) const { return wires_.count(conn) != 0; }
    std::uint64_t lost = 0, doubled = 0, swapped = 0, cuts = 0;

  private:
    struct Wire {
        End client, server;
        Time last[2]{};
    };
    void deliver(std::uint64_t conn, bool from_client, Time when, Message message);

    Clock& clock_;
    Random& random_;
    std::uint64_t next_ = 1;
    std::map<std::uint64_t, Wire> wires_;
};

}  // namespace sim
