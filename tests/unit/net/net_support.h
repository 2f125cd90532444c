// SPDX-License-Identifier: Apache-2.0
// What the tests of transports share: three worlds with one shape (Unix, Ipc, Tcp), and a desk that
// runs transports on one thread until something is true.
//
// Threading: one thread per test.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/net/listen.h"
#include "core/net/local_socket.h"
#include "core/net/poll_loop.h"
#include "core/net/transport.h"
#include "core/net/zmq_dealer.h"
#include "core/net/zmq_router.h"
#include "tests/support/temp_dir.h"

namespace forkmill::net {

/// A message of text frames.
base::Message make_message(std::initializer_list<std::string_view> frames);
base::Message make_sized(std::size_t size, char fill);
std::string text_of_control(const base::Message& message);

/// One transport and all it told so far.
struct Station {
    explicit Station(std::unique_ptr<Transport> t) : transport(std::move(t)) {}
    std::unique_ptr<Transport> transport;
    std::vector<Incoming> events;
    bool reading = true;

    /// The last connection told of that was not told to have ended.
    ConnId conn() const;
    std::size_t count(Incoming::Kind kind) const;
    std::vector<const Incoming*> messages() const;
};

class Desk {
  public:
    Desk() : loop_(base::Duration::zero()) {}
    void add(Station& station);
    void remove(Station& station) { loop_.remove(*station.transport); }
    /// Runs everything until `done` holds; false after ten seconds.
    [[nodiscard]] bool until(const std::function<bool()>& done);
    /// Runs everything for a number of idle turns: what could come has come.
    void settle();

  private:
    PollLoop loop_;
};

/// A listening socket that outlives servers, as a master holds it.
class World {
  public:
    explicit World(const std::string& endpoint);
    const Endpoint& endpoint() const { return listener_.endpoint; }
    UniqueFd duplicate() const;
    /// A bare connection, to say things no transport of ours would.
    UniqueFd raw() const;

  protected:
    test::TempDir dir_;
    Listener listener_;
};

/// Small bounds, so that a test reaches them.
struct Bounds {
    std::size_t queued_messages = 2560;
    std::size_t connections = 256;
};

struct UnixWorld : World {
    UnixWorld() : World("unix://") {}
    std::unique_ptr<Transport> serve(Bounds bounds = {}) const;
    std::unique_ptr<Transport> connect() const;
};
struct IpcWorld : World {
    IpcWorld() : World("ipc://") {}
    std::unique_ptr<Transport> serve(Bounds bounds = {}) const;
    std::unique_ptr<Transport> connect() const;
};
struct TcpWorld : World {
    TcpWorld() : World("tcp://127.0.0.1:0") {}
    std::unique_ptr<Transport> serve(Bounds bounds = {}) const;
    std::unique_ptr<Transport> connect() const;
};

}  // namespace forkmill::net
