// SPDX-License-Identifier: Apache-2.0
// ClientSession: a client's whole side of the protocol, without a socket: greeting, resume,
// liveness and the ClientCore in it.
//
// Invariants: (1) HELLO is the first frame of every connection and carries a higher generation than
// the one before; (2) nothing numbered leaves before WELCOME; (3) a session of the same incarnation
// that the broker no longer knows ends what was pending as lost, it is not run again; (4) silence
// beyond gone_ms makes it Silent, beyond session_ttl Lost, and either ends when the broker answers
// again. Threading: none; its owner's I/O thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/time.h"
#include "core/net/transport.h"
#include "core/session/client_core.h"

namespace forkmill::session {

enum class ClientState : std::uint8_t {
    Connecting,  ///< Never welcomed yet, or between two connections for less than gone_ms.
    Live,        ///< Welcomed on the present connection and heard of within gone_ms.
    Silent,      ///< Not heard of for gone_ms: bounded waits say Disconnected.
    Lost,        ///< Not heard of for session_ttl: what was pending has been settled as BrokerLost.
    Rejected,    ///< The broker will not have this session: final.
    Closed,      ///< We said BYE: final.
};

class ClientListener {
  public:
    virtual ~ClientListener() = default;
    /// Entering Lost or Rejected: settle everything pending with `code` (and `text`), its outcome
    /// is unknown unless it was never sent.
    virtual void on_client_state(ClientState state, wire::Code code, std::string_view text) = 0;
};

struct ClientSessionConfig {
    base::SessionKey key;
    wire::Role role = wire::Role::Client;  ///< Or Admin.
    std::uint64_t stream = 0;
    std::uint64_t incarnation = 0;  ///< Not 0: that broker has opened the session for us already.
    std::string host;
    std::int32_t pid = 0;
    std::string build;
    base::Duration ping_after = wire::kPingAfter;  ///< Until WELCOME states them.
    base::Duration gone_after = wire::kGoneAfter;
    base::Duration session_ttl = wire::kSessionTtl;
};

struct ClientOut {
    struct Item {
        net::ConnId conn = 0;
        base::Message message;
        bool disconnect = false;  ///< Drop the connection after the message (which may be empty).
    };
    std::vector<Item> items;
};

class ClientSession {
  public:
    ClientSession(ClientSessionConfig config,
                  SubmitSource& source,
                  OutcomeSink& sink,
                  ClientListener& listener,
                  base::Time now);

    void on_connected(net::ConnId conn, base::Time now, ClientOut& out);
    void on_message(net::ConnId conn, const base::Message& message, base::Time now, ClientOut& out);
    void on_disconnected(net::ConnId conn, base::Time now, ClientOut& out);
    /// Timers: pings, silence, owed acks, retries of a busy broker. Call at next_timer().
    void tick(base::Time now, ClientOut& out);
    base::Time next_timer() const;
    /// Encodes and transmits what source, credit and window allow. Call after inputs and whenever
    /// the source has more.
    void pump(base::Time now, ClientOut& out);
    /// Says BYE; nothing is sent afterwards.
    void close(std::string_view reason, base::Time now, ClientOut& out);

    ClientCore& core() { return core_; }
    ClientState state() const { return state_; }
    const Session& session() const { return session_; }
    std::uint64_t payload_max() const { return payload_max_; }
    std::uint64_t incarnation() const { return incarnation_; }
    /// Frames of the peer that broke the protocol; each drops the connection.
    std::uint64_t protocol_errors() const { return protocol_errors_; }

  private:
    bool final() const;
    void enter(ClientState state, wire::Code code, std::string_view text);
    void send(base::Message message, base::Time now, ClientOut& out);
    void hello(base::Time now, ClientOut& out);
    void broken(std::string_view why, base::Time now, ClientOut& out);
    void drop_connection(base::Time now, ClientOut& out);
    void on_control(const wire::Header& header,
                    const base::Message& message,
                    base::Time now,
                    ClientOut& out);
    void on_welcome(const wire::Welcome& welcome, base::Time now, ClientOut& out);
    void on_reject(const wire::Reject& reject, base::Time now, ClientOut& out);
    void on_numbered(const wire::Header& header,
                     const base::Message& message,
                     base::Time now,
                     ClientOut& out);
    void tell_ack(base::Time now, ClientOut& out);
    base::Time ping_at() const;
    void transmit(base::Time now, ClientOut& out);

    ClientSessionConfig config_;
    ClientListener& listener_;
    Session session_;
    Transfers transfers_;
    ClientCore core_;
    ClientState state_ = ClientState::Connecting;
    net::ConnId conn_ = 0;
    bool connected_ = false;
    bool welcomed_ = false;  ///< On the present connection.
    std::uint64_t generation_ = 0;
    std::uint64_t incarnation_ = 0;
    std::uint64_t payload_max_ = wire::kPayloadMaxDefault;
    base::Time last_heard_;
    base::Time last_sent_;
    base::Time last_ping_;
    base::Time ack_owed_at_ = base::kNever;
    base::Time retry_at_ = base::kNever;
    std::uint64_t ping_echo_ = 0;
    std::uint64_t protocol_errors_ = 0;
    SubmitSource& source_;
    std::uint32_t greetings_ = 0;  ///< HELLOs since the last WELCOME; a peer that only says WHO or
                                   ///< FENCED is left alone after a few.
};

}  // namespace forkmill::session
