// SPDX-License-Identifier: Apache-2.0
// What only ZeroMQ does; the promises it shares with local sockets are in transport_test.cc.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/net/client_transport.h"
#include "core/net/zmq_context.h"
#include "tests/unit/net/net_support.h"

namespace forkmill::net {
namespace {

using Kind = Incoming::Kind;

struct Line {
    explicit Line(std::unique_ptr<Transport> s, std::unique_ptr<Transport> c)
        : server(std::move(s)), client(std::move(c)) {
        desk.add(server);
        desk.add(client);
    }
    ~Line() {
        desk.remove(server);
        desk.remove(client);
    }
    Station server;
    Station client;
    Desk desk;
};

TEST(ZmqRouter, RejectsTooManyFramesAndTooManyBytesAndCutsThePeer) {
    for (const bool frames : {true, false}) {
        TcpWorld world;
        Line line{world.serve(), world.connect()};
        ASSERT_TRUE(line.desk.until([&] { return line.client.conn() != 0; }));
        base::Message bad = make_message({"c"});
        for (std::size_t i = 0; i < (frames ? wire::kMessageFramesMax : 3); ++i)
            bad.payloads.push_back(make_sized(frames ? 1 : wire::kBodyFrameMax, 'w').control);
        ASSERT_EQ(line.client.transport->send(line.client.conn(), bad), Sent::Ok);
        ASSERT_EQ(line.client.transport->send(line.client.conn(), make_message({"after"})),
                  Sent::Ok);
        ASSERT_TRUE(line.desk.until([&] { return line.server.count(Kind::Rejected) == 1; }));
        EXPECT_NE(line.server.events.back().reason.find("expected at most"), std::string::npos);
        // What came after it is not told, nor is the end of a connection that was rejected.
        ASSERT_TRUE(line.desk.until([&] { return line.client.count(Kind::Connected) == 2; }));
        line.desk.settle();
        EXPECT_EQ(line.server.messages().size(), 0U);
        EXPECT_EQ(line.server.count(Kind::Disconnected), 0U);
    }
}

TEST(ZmqRouter, CutsAPeerWhoseFrameIsTooLong) {
    TcpWorld world;
    Line line{world.serve(), world.connect()};
    ASSERT_TRUE(line.desk.until([&] { return line.client.conn() != 0; }));
    ASSERT_EQ(line.client.transport->send(line.client.conn(), make_message({"hello"})), Sent::Ok);
    ASSERT_TRUE(line.desk.until([&] { return line.server.messages().size() == 1; }));
    ASSERT_EQ(line.client.transport->send(line.client.conn(), make_sized(wire::kFrameMax + 1, 'x')),
              Sent::Ok);
    ASSERT_TRUE(line.desk.until([&] {
        return line.server.count(Kind::Disconnected) == 1 &&
               line.client.count(Kind::Disconnected) == 1;
    }));
    EXPECT_EQ(line.server.messages().size(), 1U);
}

TEST(ZmqRouter, RefusesTheOldProtocolsWhoseFirstBytesWouldBeAMessage) {
    TcpWorld world;
    Station server{world.serve()};
    Desk desk;
    desk.add(server);
    for (const std::string& old :
         {std::string{"\x01\0\x06\0HELLO", 9},
          std::string{"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05\0\0\0\x01x", 17}}) {
        UniqueFd raw = world.raw();
        ASSERT_EQ(::send(raw.get(), old.data(), old.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(old.size()));
        ASSERT_TRUE(desk.until([&] {
            std::array<char, 64> bytes;
            const ssize_t got = ::recv(raw.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
            return got == 0 || (got < 0 && errno == ECONNRESET);
        }));
    }
    EXPECT_EQ(server.events.size(), 0U);
    desk.remove(server);
}

TEST(ZmqRouter, ClosesUnharmedWhileStrangersAreTalking) {
    // libzmq 4.3.4 aborts when the bytes of an old protocol reach a socket that closes.
    for (int round = 0; round < 30; ++round) {
        IpcWorld world;
        auto server = world.serve();
        std::vector<UniqueFd> strangers;
        for (int i = 0; i < 20; ++i) {
            strangers.push_back(world.raw());
            ASSERT_EQ(::send(strangers.back().get(), "\x01\0\x06\0HELLO", 9, MSG_NOSIGNAL), 9);
        }
        server.reset();
    }
}

TEST(ZmqRouter, NeverUsesAHandleTwice) {
    IpcWorld world;
    Station server{world.serve()};
    Desk desk;
    desk.add(server);
    std::set<ConnId> seen;
    for (std::size_t i = 1; i <= 30; ++i) {
        Station client{world.connect()};
        desk.add(client);
        ASSERT_TRUE(desk.until([&] { return client.conn() != 0; }));
        ASSERT_TRUE(seen.insert(client.conn()).second);
        ASSERT_EQ(client.transport->send(client.conn(), make_message({"x"})), Sent::Ok);
        ASSERT_TRUE(desk.until([&] { return server.messages().size() == i; }));
        ASSERT_TRUE(seen.insert(server.messages().back()->conn).second);
        desk.remove(client);
    }
    ASSERT_TRUE(desk.until([&] { return server.count(Kind::Disconnected) == 30; }));
    const auto& router = dynamic_cast<ZmqRouter&>(*server.transport);
    ASSERT_TRUE(desk.until([&] { return router.connections() == 0; }));
    EXPECT_EQ(router.counters().accepted, 30U);
    EXPECT_TRUE(desk.until([&] { return server.transport->wake_at() == base::kNever; }));
    desk.remove(server);
}

TEST(ZmqRouter, RefusesSocketsItMustNotAdopt) {
    auto router = ZmqRouter::make({.connections_max = 16});
    ASSERT_TRUE(router.ok());
    auto pair = local_socket_pair();
    ASSERT_TRUE(pair.ok());
    Endpoint endpoint;
    endpoint.scheme = Scheme::Tcp;
    endpoint.host = "127.0.0.1";
    endpoint.port = 1;
    EXPECT_FALSE(router.value()->adopt(endpoint, std::move(pair.value().first)).ok());
    endpoint.scheme = Scheme::Unix;
    EXPECT_FALSE(router.value()->bind(endpoint).ok());
}

TEST(ZmqRouter, RefusesMoreConnectionsThanDescriptors) {
    EXPECT_FALSE(ZmqRouter::make({.connections_max = 1'000'000'000}).ok());
}

TEST(ZmqRouter, BindsByItselfAndTellsThePort) {
    auto router = ZmqRouter::make({.connections_max = 16});
    ASSERT_TRUE(router.ok());
    Endpoint endpoint;
    endpoint.scheme = Scheme::Tcp;
    endpoint.host = "127.0.0.1";
    auto bound = router.value()->bind(endpoint);
    ASSERT_TRUE(bound.ok()) << bound.failure().text;
    ASSERT_NE(bound.value().port, 0);
    auto client = make_client_transport(bound.value());
    ASSERT_TRUE(client.ok());
    Line line{std::move(router).value(), std::move(client).value()};
    ASSERT_TRUE(line.desk.until([&] { return line.client.conn() != 0; }));
}

TEST(ZmqDealer, SaysWhyThereIsNoConnection) {
    Endpoint endpoint;
    {
        TcpWorld world;
        endpoint = world.endpoint();
    }
    auto dealer = ZmqDealer::make(endpoint);
    ASSERT_TRUE(dealer.ok());
    const ZmqDealer& seen = *dealer.value();
    Station client{std::move(dealer).value()};
    Desk desk;
    desk.add(client);
    ASSERT_TRUE(desk.until([&] { return !seen.last_error().empty(); }));
    EXPECT_NE(seen.last_error().find("nobody answers"), std::string::npos);
    EXPECT_EQ(client.events.size(), 0U);
    desk.remove(client);
}

TEST(ZmqDealer, ComesBackAfterAFrameThatIsTooLong) {
    // libzmq gives a connection up for good when its framing breaks.
    IpcWorld world;
    Line line{world.serve(), world.connect()};
    ASSERT_TRUE(line.desk.until([&] { return line.client.conn() != 0; }));
    ASSERT_EQ(line.client.transport->send(line.client.conn(), make_message({"hello"})), Sent::Ok);
    ASSERT_TRUE(line.desk.until([&] { return line.server.messages().size() == 1; }));
    ASSERT_EQ(line.server.transport->send(line.server.conn(), make_sized(wire::kFrameMax + 1, 'x')),
              Sent::Ok);
    ASSERT_TRUE(line.desk.until([&] { return line.client.count(Kind::Connected) == 2; }));
    EXPECT_EQ(line.client.messages().size(), 0U);
    EXPECT_EQ(line.client.count(Kind::Disconnected), 1U);
}

TEST(Context, IsSharedAndEndsWithItsLastSocket) {
    void* raw = nullptr;
    {
        const auto one = Context::get();
        EXPECT_EQ(one, Context::get());
        raw = one->raw();
    }
    EXPECT_NE(raw, nullptr);
    EXPECT_EQ(Context::get().use_count(), 1);
}

TEST(ClientTransport, KnowsEveryEndpointOneCanConnectTo) {
    test::TempDir dir;
    const std::string path = (dir / "s").string();
    for (const std::string& text :
         {"ipc://" + path, "unix://" + path, std::string{"tcp://127.0.0.1:1"}})
        EXPECT_TRUE(make_client_transport(parse_endpoint(text).value()).ok()) << text;
    for (const char* text : {"local:2", "tcp://127.0.0.1:*", "tcp://*:1"})
        EXPECT_FALSE(make_client_transport(parse_endpoint(text).value()).ok()) << text;
    const CurvePair pair = make_curve_pair();
    ClientTransportOptions keyed;
    keyed.curve = CurveClient{pair.public_key, pair.public_key, pair.secret_key};
    EXPECT_TRUE(make_client_transport(parse_endpoint("tcp://127.0.0.1:1").value(), keyed).ok());
    EXPECT_FALSE(make_client_transport(parse_endpoint("unix://" + path).value(), keyed).ok());
    keyed.curve->secret_key = "short";
    EXPECT_FALSE(make_client_transport(parse_endpoint("tcp://127.0.0.1:1").value(), keyed).ok());
}

}  // namespace
}  // namespace forkmill::net
