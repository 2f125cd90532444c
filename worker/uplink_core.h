// SPDX-License-Identifier: Apache-2.0
// UplinkCore: what a worker host's uplink tells the broker, without a socket: births, deaths and
// states of this host's workers (HOST), and the kills it is asked for (HOST_VERB), semantics.md 9.
//
// Invariants: (1) a broker that knows nothing of us is told every living worker and then Roster,
// before anything newer; (2) at most kWorkersMax workers are known and kUntoldMax notices wait;
// past that bound it comes as a new session, which starts from (1). Threading: none.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "core/base/time.h"
#include "core/session/session.h"
#include "core/supervisor/channel.h"
#include "core/wire/codec.h"

namespace forkmill::worker {

struct UplinkConfig {
    base::SessionKey session;
    std::string host;
    std::string host_key;
    std::string pool;
    std::int32_t pid = 0;
    std::uint64_t seed = 1;
};

struct UplinkOut {
    std::vector<base::Message> messages;
    bool disconnect = false;
};

class UplinkCore {
  public:
    static constexpr std::size_t kWorkersMax = 4096;
    static constexpr std::size_t kUntoldMax = 8192;
    static constexpr std::size_t kDeathsMax = 1024;  ///< Beyond, the oldest is forgotten.

    UplinkCore(UplinkConfig config, base::Time now);

    void on_connected(base::Time now, UplinkOut& out);
    void on_disconnected();
    void on_message(const base::Message& message, base::Time now, UplinkOut& out);
    /// From the master: Born, Ready, Failed, Stopped, Continued, Recycle, Died, Roster.
    void on_notice(const supervisor::Notice& notice);
    void tick(base::Time now, UplinkOut& out);
    base::Time next_timer() const;
    void pump(base::Time now, UplinkOut& out);

    /// Says goodbye once everything is told.
    void leave() { leaving_ = true; }
    bool done() const { return bye_said_ && session_.all_acked(); }
    /// Workers to kill, by order of the broker; the caller passes them on and clears.
    std::vector<supervisor::Notice>& kills() { return kills_; }
    bool welcomed() const { return welcomed_; }
    /// Set when the broker will not have this host.
    const std::string& rejected() const { return rejected_; }

  private:
    struct Living {
        supervisor::Notice born;
        bool ready = false;
        bool stopped = false;
    };

    void hello(base::Time now, UplinkOut& out);
    void on_welcome(const wire::Welcome& welcome, base::Time now, UplinkOut& out);
    void on_reject(const wire::Reject& reject, base::Time now);
    void on_host_verb(const wire::HostRecord& order);
    void start_over(bool first);
    void new_session();
    wire::Header header(wire::Kind kind);
    wire::HostRecord describe(const supervisor::Notice& notice) const;
    void broken(UplinkOut& out);

    UplinkConfig config_;
    session::Session session_;
    bool connected_ = false;
    bool welcomed_ = false;
    bool leaving_ = false;
    bool bye_said_ = false;
    bool roster_known_ = false;  ///< The master has told all that lived when we started.
    std::uint64_t generation_ = 0;
    std::uint64_t incarnation_ = 0;
    base::Duration ping_after_ = wire::kPingAfter;
    base::Duration gone_after_ = wire::kGoneAfter;
    base::Time last_heard_{};
    base::Time ping_at_ = base::kNever;
    base::Time hello_at_ = base::kNever;
    std::map<std::uint32_t, Living> living_;  ///< By slot.
    std::deque<supervisor::Notice> untold_;
    std::deque<supervisor::Notice>
        deaths_;  ///< Not acked yet: a broker that starts over may not know.
    std::vector<supervisor::Notice> kills_;
    std::string rejected_;
};

}  // namespace forkmill::worker
