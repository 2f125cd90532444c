// SPDX-License-Identifier: Apache-2.0
// What only local sockets do; the promises they share with ZeroMQ are in transport_test.cc.
#include "core/net/local_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/unit/net/net_support.h"

namespace forkmill::net {
namespace {

using Kind = Incoming::Kind;

struct Pool {
    Pool() {
        auto pair = local_socket_pair();
        EXPECT_TRUE(pair.ok());
        auto local = std::make_unique<LocalServer>();
        conn = local->adopt(std::move(pair.value().first));
        server = std::make_unique<Station>(std::move(local));
        client = std::make_unique<Station>(
            std::make_unique<LocalClient>(std::move(pair.value().second)));
        desk.add(*server);
        desk.add(*client);
    }
    ~Pool() {
        desk.remove(*server);
        desk.remove(*client);
    }
    ConnId conn = 0;
    std::unique_ptr<Station> server;
    std::unique_ptr<Station> client;
    Desk desk;
};

TEST(LocalSocket, AdoptsBothEndsOfAPair) {
    Pool pool;
    ASSERT_TRUE(pool.desk.until(
        [&] { return pool.server->conn() == pool.conn && pool.client->conn() != 0; }));
    ASSERT_EQ(pool.server->transport->send(pool.conn, make_message({"task", "body"})), Sent::Ok);
    pool.server->transport->flush();
    ASSERT_TRUE(pool.desk.until([&] { return pool.client->messages().size() == 1; }));
    EXPECT_EQ(base::text_of(pool.client->messages()[0]->message.payloads.at(0)), "body");
    EXPECT_EQ(pool.server->transport->principal(pool.conn), "uid:" + std::to_string(::geteuid()));
}

TEST(LocalSocket, AnAdoptedClientDoesNotReconnect) {
    Pool pool;
    ASSERT_TRUE(pool.desk.until([&] { return pool.client->conn() != 0; }));
    pool.server->transport->disconnect(pool.conn);
    ASSERT_TRUE(pool.desk.until([&] { return pool.client->count(Kind::Disconnected) == 1; }));
    EXPECT_EQ(pool.client->transport->wake_at(), base::kNever);
    EXPECT_FALSE(pool.client->transport->pending());
    Incoming in;
    EXPECT_FALSE(pool.client->transport->receive(in));
}

TEST(LocalSocket, NothingLeavesBeforeTheFlushAndOneReadTakesTheBatch) {
    auto pair = local_socket_pair();
    ASSERT_TRUE(pair.ok());
    LocalServer server;
    const ConnId conn = server.adopt(std::move(pair.value().first));
    for (int i = 0; i < 100; ++i)
        ASSERT_EQ(server.send(conn, make_message({std::string(100, 'r')})), Sent::Ok);
    std::array<char, 100'000> bytes;
    EXPECT_LT(::recv(pair.value().second.get(), bytes.data(), bytes.size(), MSG_DONTWAIT), 0);
    EXPECT_TRUE(server.unsent());
    server.flush();
    EXPECT_FALSE(server.unsent());
    EXPECT_EQ(::recv(pair.value().second.get(), bytes.data(), bytes.size(), MSG_DONTWAIT),
              100 * 108);
}

TEST(LocalSocket, OneServerListensAtSeveralPlaces) {
    UnixWorld first;
    UnixWorld second;
    auto both = std::make_unique<LocalServer>();
    ASSERT_TRUE(both->listen(first.duplicate()).ok());
    ASSERT_TRUE(both->listen(second.duplicate()).ok());
    Station server{std::move(both)};
    Desk desk;
    desk.add(server);
    const std::string whole{"\x01\0\0\0\x02\0\0\0ab", 10};
    for (const UnixWorld* world : {&first, &second}) {
        UniqueFd raw = world->raw();
        ASSERT_EQ(::send(raw.get(), whole.data(), whole.size(), 0), 10);
        desk.settle();
    }
    EXPECT_EQ(server.messages().size(), 2U);
}

/// As while the router is replaced: its socket is the master's, and connects succeed.
TEST(LocalSocket, WhoConnectedAndDiedBeforeAnybodyServedIsNotTold) {
    test::TempDir dir;
    const std::string path = (dir / "sock").string();
    auto listening = listen_socket(parse_endpoint("unix://" + path).value());
    ASSERT_TRUE(listening.ok());
    {
        LocalClient dead{path};
        Incoming connected;
        ASSERT_TRUE(dead.receive(connected));
        ASSERT_EQ(dead.send(connected.conn, make_message({"hello"})), Sent::Ok);
        dead.flush();
    }
    LocalClient living{path};
    Incoming connected;
    ASSERT_TRUE(living.receive(connected));
    ASSERT_EQ(living.send(connected.conn, make_message({"here"})), Sent::Ok);
    living.flush();
    Station server{std::make_unique<LocalServer>()};
    auto& transport = static_cast<LocalServer&>(*server.transport);
    ASSERT_TRUE(transport.listen(UniqueFd{::dup(listening.value().fd.get())}).ok());
    Desk desk;
    desk.add(server);
    EXPECT_TRUE(desk.until([&] { return server.messages().size() == 1; }));
    EXPECT_EQ(base::text_of(server.messages()[0]->message.control.view()), "here");
    EXPECT_EQ(server.count(Kind::Connected), 1U);
    desk.remove(server);
}

TEST(LocalSocket, TellsAHalfMessageFromAWholeOne) {
    UnixWorld world;
    Station server{world.serve()};
    Desk desk;
    desk.add(server);
    UniqueFd raw = world.raw();
    const std::string half{"\x01\0\0\0\x05\0\0\0ab", 10};
    ASSERT_EQ(::send(raw.get(), half.data(), half.size(), 0), 10);
    desk.settle();
    EXPECT_EQ(server.messages().size(), 0U);
    raw.reset();
    ASSERT_TRUE(desk.until([&] { return server.count(Kind::Disconnected) == 1; }));
    EXPECT_NE(server.events.back().reason.find("inside a message"), std::string::npos);
    EXPECT_EQ(server.messages().size(), 0U);
    desk.remove(server);
}

TEST(LocalSocket, RejectsABrokenFramingOnceAndHangsUp) {
    UnixWorld world;
    Station server{world.serve()};
    Desk desk;
    desk.add(server);
    UniqueFd raw = world.raw();
    const std::string good{"\x01\0\0\0\x02\0\0\0ok", 10};
    const std::string bytes = good + std::string(4, '\x7f') + good;
    ASSERT_EQ(::send(raw.get(), bytes.data(), bytes.size(), 0), 24);
    ASSERT_TRUE(desk.until([&] { return server.count(Kind::Rejected) == 1; }));
    desk.settle();
    EXPECT_EQ(server.messages().size(), 1U);
    EXPECT_EQ(server.count(Kind::Disconnected), 0U);
    EXPECT_EQ(server.transport->send(server.events[0].conn, make_message({"x"})), Sent::Gone);
    char byte = 0;
    EXPECT_LE(::recv(raw.get(), &byte, 1, 0), 0);
    desk.remove(server);
}

TEST(LocalSocket, RefusesAMessageThatTheFramingCannotCarry) {
    Pool pool;
    base::Message wide = make_message({"c"});
    for (std::size_t i = 0; i < wire::kMessageFramesMax; ++i)
        wide.payloads.push_back(make_sized(1, 'w').control);
    EXPECT_EQ(pool.server->transport->send(pool.conn, wide), Sent::Full);
    EXPECT_EQ(pool.server->transport->send(pool.conn, make_sized(wire::kFrameMax + 1, 'x')),
              Sent::Full);
    EXPECT_EQ(pool.server->transport->send(pool.conn, make_message({"fine"})), Sent::Ok);
}

TEST(LocalSocket, BothMayFloodEachOtherWithoutADeadlock) {
    Pool pool;
    ASSERT_TRUE(pool.desk.until([&] { return pool.client->conn() != 0; }));
    const base::Message big = make_sized(wire::kBodyFrameMax, 'f');
    std::size_t down = 0;
    std::size_t up = 0;
    ASSERT_TRUE(pool.desk.until([&] {
        while (down < 64 && pool.server->transport->send(pool.conn, big) == Sent::Ok) ++down;
        while (up < 64 && pool.client->transport->send(pool.client->conn(), big) == Sent::Ok) ++up;
        pool.server->transport->flush();
        pool.client->transport->flush();
        return pool.server->messages().size() == 64 && pool.client->messages().size() == 64;
    })) << down
        << " " << up;
}

TEST(LocalSocket, OneWhoNeverStopsDoesNotStarveTheOthers) {
    UnixWorld world;
    auto transport = world.serve();
    UniqueFd flood = world.raw();
    ASSERT_EQ(::fcntl(flood.get(), F_SETFL, O_NONBLOCK), 0);
    const std::string message{"\x01\0\0\0\x02\0\0\0xx", 10};
    std::string many;
    for (int i = 0; i < 50'000; ++i) many += message;
    const auto pour = [&] {
        // Whole messages or nothing: what did not fit is sent first next time.
        static std::size_t offset;
        const ssize_t n = ::send(
            flood.get(), many.data() + offset, many.size() - offset, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) offset = (offset + static_cast<std::size_t>(n)) % many.size();
    };
    pour();
    UniqueFd quiet;
    bool heard = false;
    Incoming in;
    for (int i = 0; i < 2'000'000 && !heard; ++i) {
        pour();
        if (i == 10'000) {
            quiet = world.raw();
            ASSERT_EQ(::send(quiet.get(), "\x01\0\0\0\x02\0\0\0hi", 10, 0), 10);
        }
        if (transport->receive(in) && in.kind == Kind::Message)
            heard = text_of_control(in.message) == "hi";
    }
    EXPECT_TRUE(heard);
}

TEST(LocalSocket, PausesInsteadOfSpinningWhenDescriptorsRunOut) {
    UnixWorld world;
    Station server{world.serve()};
    Desk desk;
    desk.add(server);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    UniqueFd one = world.raw();
    UniqueFd two = world.raw();
    // Exactly the descriptors there are now: accept() has none to give.
    UniqueFd highest{::dup(one.get())};
    rlimit none = before;
    none.rlim_cur = static_cast<rlim_t>(highest.get()) + 1;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    std::vector<UniqueFd> fill;
    for (int fd = ::dup(one.get()); fd >= 0; fd = ::dup(one.get())) fill.emplace_back(fd);
    Incoming in;
    EXPECT_FALSE(server.transport->receive(in));
    EXPECT_NE(server.transport->wake_at(), base::kNever);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    fill.clear();
    ASSERT_TRUE(desk.until([&] { return server.count(Kind::Connected) == 2; }));
    EXPECT_EQ(server.transport->wake_at(), base::kNever);
    desk.remove(server);
}

TEST(LocalSocket, AClientWaitsForItsServerWithGrowingPauses) {
    test::TempDir dir;
    LocalClient client{(dir / "nobody").string()};
    EXPECT_TRUE(client.pending());
    Incoming in;
    EXPECT_FALSE(client.receive(in));
    EXPECT_FALSE(client.pending());
    EXPECT_NE(client.last_error().find("No such file"), std::string::npos);
    const base::Time now = base::monotonic_now();
    EXPECT_GT(client.wake_at(), now - std::chrono::milliseconds{20});
    EXPECT_LT(client.wake_at(), now + std::chrono::milliseconds{20});
    EXPECT_EQ(client.send(1, make_message({"x"})), Sent::Gone);
}

}  // namespace
}  // namespace forkmill::net
