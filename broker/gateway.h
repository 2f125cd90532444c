// SPDX-License-Identifier: Apache-2.0
// Gateway: frames ↔ engine calls. It parses, numbers, batches and routes; every decision is the
// engine's.
//
// Sans-io: (handle, message) and `now` in, messages in out() out; tests/sim runs the real one. The
// router's loop (or the embedded broker thread) owns the transports. Invariants: (1) a handle says
// HELLO before anything else is processed; (2) a session has at most one handle; (3) a worker's
// RESULTS frame stays kept by that worker (its floor does not pass it) while a connected client has
// not acked the frame that carries one of its results; (4) nothing a peer sends ends in an
// assertion. Threading: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/engine/engine.h"
#include "core/base/time.h"
#include "core/net/transport.h"
#include "core/supervisor/channel.h"

namespace forkmill::broker {

struct Peer;

/// A connection of one of the loop's transports.
struct Handle {
    std::uint32_t transport = 0;
    net::ConnId conn = 0;
    bool operator==(const Handle&) const = default;
};

struct HandleHash {
    std::size_t operator()(const Handle& handle) const noexcept {
        return static_cast<std::size_t>((handle.conn + 1) * 0x9e3779b97f4a7c15ULL ^
                                        handle.transport);
    }
};

struct Outgoing {
    Handle to;
    base::Message message;
    bool disconnect =
        false;  ///< After the message (which may be empty) the connection is to be dropped.
};

/// A kill order for a supervisor: the local master (host_key of this host) or an uplink's.
struct KillOrder {
    std::string host_key;
    std::string pool;
    std::uint32_t slot = 0;
    std::uint32_t birth = 0;
    std::int32_t pid = 0;
    supervisor::Cause cause{};
};

/// The client that lives in this process (embedded pool): gets its session's effects as calls,
/// unencoded. `effect.view` is valid during the call only.
class LocalClient {
  public:
    virtual ~LocalClient() = default;
    virtual void on_effect(const engine::Effect& effect, const engine::Effects& all) = 0;
};

struct GatewayConfig {
    std::uint64_t incarnation = 1;
    std::string host_key;  ///< Of the master that owns this broker's local workers.
    std::string name;      ///< "host:pid", told in WELCOME.
    std::string durability = "memory";
    base::Duration ping_after = wire::kPingAfter;
    base::Duration gone_after = wire::kGoneAfter;
    base::Duration session_ttl = wire::kSessionTtl;
    std::uint64_t payload_max = wire::kPayloadMaxDefault;
    base::Duration death_grace = std::chrono::milliseconds{
        5};  ///< How long a death notice waits for what the dead one still had in the pipe.
    std::uint32_t handles_max = 8192;
    std::uint32_t heirs_max = 1024;  ///< Sessions that wait for, or are of, processes to be.
    /// Of operations on objects that a session may leave unacked; one that asks for more is ended.
    std::uint64_t answers_max = 4096;
};

struct GatewayCounters {
    std::uint64_t messages_in = 0;
    std::uint64_t messages_out = 0;
    std::uint64_t resent = 0;
    std::uint64_t duplicates = 0;
    std::uint64_t gaps = 0;
    std::uint64_t refused_frames = 0;  ///< Frames that broke the protocol.
    std::uint64_t stale_results = 0;
    std::uint64_t fenced = 0;
};

class Gateway {
  public:
    Gateway(GatewayConfig config, engine::Engine& engine, base::Time now);
    ~Gateway();
    Gateway(const Gateway&) = delete;
    Gateway& operator=(const Gateway&) = delete;

    /// One whole message of a connection. `principal` names who the transport knows it to be (CURVE
    /// key, uid), or is empty.
    void on_message(Handle from,
                    base::Message&& message,
                    base::Time now,
                    base::WallNanos wall,
                    std::string_view principal = {});
    /// The transport lost the connection; never a death by itself, but all it sent has been
    /// received.
    void on_disconnected(Handle from, base::Time now);
    /// The transport refused a message of ours or the peer's framing: the handle is void.
    void on_broken(Handle from, std::string_view reason, base::Time now);

    /// A birth, death, stop… told by the supervisor called `host_key`; deaths take effect once the
    /// dead one's inbox is drained (semantics.md 14b).
    void on_notice(std::string_view host_key,
                   std::string_view pool,
                   const supervisor::Notice& notice,
                   base::Time now);

    /// A client in this process. Its inputs go to engine() directly, with effects(); its outputs
    /// come through `client`.
    engine::SessionIx open_local(const engine::SessionInfo& info,
                                 LocalClient& client,
                                 base::Time now);
    void close_local(engine::SessionIx session, base::Time now);

    /// An operation of a session's, whether it concerns objects or who has them.
    void operate(engine::SessionIx from, const wire::ObjectOp& op, base::Time now);

    /// Ends a turn of the loop: timers, leases, and every open batch finished into out(). Call when
    /// the inbox is empty or after ~256 messages.
    void pump(base::Time now, base::WallNanos wall);
    base::Time next_timer() const;

    /// Messages to send, in order per handle; the caller sends and clears them.
    std::vector<Outgoing>& out() { return out_; }
    std::vector<KillOrder>& kills() { return kills_; }

    engine::Engine& engine() { return engine_; }
    engine::Effects& effects() { return effects_; }
    /// Routes the effects gathered so far; on_message() and pump() do it themselves. Call after
    /// direct engine inputs whose effects hold views.
    void apply_effects(base::Time now);

    const GatewayCounters& counters() const { return counters_; }
    /// Connections that have a session.
    std::size_t peers() const { return by_handle_.size(); }
    /// Answers QUERY messages: (what, argument) → JSON text; set by the router (broker/status.h).
    std::function<wire::Reply(const wire::Query&, base::Time)> answer;
    /// Whether a peer that the transport knows may open a session of that role; empty: everybody.
    std::function<bool(std::string_view principal, wire::Role role)> may_act;
    /// One line per noteworthy event (session opened, lost, protocol error); may be empty.
    std::function<void(std::string_view)> log;

    /// Takes no new sessions or submits any more: submits are refused with Draining.
    void drain();
    /// Says BYE to everyone (stop, upgrade).
    void say_bye(std::string_view reason, base::Time now);
    /// Signature under which a living worker offers the task; empty: none does.
    std::string signature_of(std::string_view task) const;
    std::size_t unsettled_custody() const;
    std::string check_invariants() const;

  private:
    friend struct GatewayOps;
    struct PendingDeath {
        engine::DeathInfo info;
        base::Time at;
    };
    /// A session whose process is dead, and what of it may still be on its way.
    struct PendingBurial {
        base::SessionKey key;
        base::Time at;
    };

    GatewayConfig config_;
    engine::Engine& engine_;
    engine::Effects effects_;
    std::vector<Outgoing> out_;
    std::vector<KillOrder> kills_;
    GatewayCounters counters_;
    std::vector<std::unique_ptr<Peer>>
        peers_;                         ///< By SessionIx; null for local clients and free indexes.
    std::vector<LocalClient*> locals_;  ///< By SessionIx.
    std::unordered_map<Handle, Peer*, HandleHash> by_handle_;
    std::unordered_map<base::SessionKey, Peer*> by_key_;
    std::vector<Peer*> dirty_;  ///< Peers with something to flush.
    std::vector<PendingDeath> deaths_;
    std::vector<PendingBurial> burials_;
    std::size_t heirs_ = 0;  ///< Peers with a parent.
    std::vector<engine::DeathInfo> roster_;
    std::uint64_t next_epoch_ = 0;
    engine::SessionIx current_worker_ =
        engine::kNoSession;  ///< Whose RESULTS frame is being read …
    std::uint64_t current_frame_ =
        0;  ///< … and its number: outcomes routed now are in its custody.
    bool draining_ = false;
    base::Time next_sweep_{};
};

}  // namespace forkmill::broker
