// SPDX-License-Identifier: Apache-2.0
// Transport: whole messages between this process and peers, over ZeroMQ or local sockets, behind
// one door.
//
// A Transport belongs to one thread. It never blocks, never interprets a control frame beyond wire
// limits, and tells of peers by ConnId: a handle that is never used twice in a process, no identity
// (semantics.md 3). Invariants: (1) after send() said Ok the message goes out in order or the
// connection ends; (2) after Disconnected nothing more is received from that ConnId; (3) a sleep is
// safe when fd() is not readable and pending() is false.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/time.h"

namespace forkmill::net {

using ConnId = std::uint64_t;

/// The upper 24 bits of every ConnId of one transport object; the lower 40 count its connections.
/// So no handle is used twice in a process, however many transports it has.
ConnId next_transport_prefix();

struct Incoming {
    enum class Kind : std::uint8_t {
        Connected,  ///< A client transport reached its server (again); a server transport saw a new
                    ///< peer. Say HELLO now (clients).
        Message,    ///< `message` came whole.
        Disconnected,  ///< The connection is gone. Off the same host that is never a death.
        Rejected,      ///< The peer broke the framing (size, parts); it has been or must be
                       ///< disconnected. `reason` says how.
    };
    Kind kind = Kind::Message;
    ConnId conn = 0;
    base::Message message;
    std::string reason;
};

enum class Sent : std::uint8_t {
    Ok,    ///< Taken over.
    Full,  ///< Nothing was taken; credits should have prevented it (semantics.md 22). The caller
           ///< closes the session.
    Gone,  ///< No such connection any more.
};

class Transport {
  public:
    virtual ~Transport() = default;

    /// One fd to poll for reading (an epoll fd or ZMQ_FD behind it).
    virtual int fd() const = 0;
    /// True when receive() may yield something although fd() is silent. Ask before every sleep.
    virtual bool pending() = 0;
    /// The next event, or false when there is none now. Never blocks.
    virtual bool receive(Incoming& out) = 0;
    /// Takes `message` over when it returns Ok.
    virtual Sent send(ConnId conn, const base::Message& message) = 0;
    /// Writes out what a previous send() could only queue; called once per loop turn after a batch
    /// of sends.
    virtual void flush() = 0;
    /// Forgets a connection; nothing more comes from it.
    virtual void disconnect(ConnId conn) = 0;
    /// Who the transport knows the peer to be: the name of its CURVE key, "uid:N" on a local
    /// socket, empty if it does not know.
    virtual std::string_view principal(ConnId /*conn*/) const { return {}; }
    /// When the transport wants flush() or receive() called although nothing is readable (reconnect
    /// timers); base::kNever if not.
    virtual base::Time wake_at() const { return base::kNever; }
    /// True while something send() took over is still here (unwritten); used for a bounded flush at
    /// the end.
    virtual bool unsent() const = 0;
};

}  // namespace forkmill::net
