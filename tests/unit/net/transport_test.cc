// SPDX-License-Identifier: Apache-2.0
// What every Transport promises, tried on local sockets and on ZeroMQ over ipc and tcp.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <random>
#include <string>

#include "core/wire/limits.h"
#include "tests/support/wait_until.h"
#include "tests/unit/net/net_support.h"

namespace forkmill::net {
namespace {

using Kind = Incoming::Kind;

template <class WorldT>
class TransportTest : public testing::Test {
  protected:
    void SetUp() override {
        desk.add(server);
        desk.add(client);
        // A ZeroMQ server knows a peer only once it has said something.
        ASSERT_TRUE(desk.until([&] { return client.conn() != 0; }));
        ASSERT_EQ(send(client, make_message({"hello"})), Sent::Ok);
        ASSERT_TRUE(desk.until([&] { return server.messages().size() == 1; }));
        server_conn = server.conn();
        ASSERT_NE(server_conn, 0U);
        EXPECT_EQ(server.messages()[0]->conn, server_conn);
    }

    Sent send(Station& from, const base::Message& message) {
        const Sent sent = from.transport->send(from.conn(), message);
        from.transport->flush();
        return sent;
    }
    void end(Station& station) {
        desk.remove(station);
        station.transport.reset();
    }

    WorldT world;
    Station server{world.serve()};
    Station client{world.connect()};
    Desk desk;
    ConnId server_conn = 0;
};

using Worlds = testing::Types<UnixWorld, IpcWorld, TcpWorld>;
TYPED_TEST_SUITE(TransportTest, Worlds);

TYPED_TEST(TransportTest, EchoesFramesOfEverySize) {
    base::Message big = make_sized(wire::kFrameMax, 'b');
    big.payloads.push_back(make_sized(wire::kMessageBytesMax - wire::kFrameMax, 'p').control);
    std::vector<base::Message> messages{
        make_message({""}),
        make_message({"x"}),
        make_message({"control", "", "payload", std::string(4095, 'a'), std::string(4096, 'b')}),
        make_sized(1023, 'c'),
        make_sized(1024, 'd'),
        make_sized(70'000, 'e'),
        big};
    base::Message wide = make_message({"64 frames"});
    for (std::size_t i = 1; i < wire::kMessageFramesMax; ++i)
        wide.payloads.push_back(make_sized(i, 'w').control);
    messages.push_back(wide);
    for (std::size_t i = 0; i < messages.size(); ++i) {
        ASSERT_EQ(this->send(this->client, messages[i]), Sent::Ok);
        ASSERT_TRUE(this->desk.until([&] { return this->server.messages().size() == 2 + i; })) << i;
        ASSERT_EQ(this->server.transport->send(this->server_conn,
                                               this->server.messages().back()->message),
                  Sent::Ok);
        this->server.transport->flush();
        ASSERT_TRUE(this->desk.until([&] { return this->client.messages().size() == 1 + i; })) << i;
        const base::Message& back = this->client.messages().back()->message;
        EXPECT_EQ(base::text_of(back.control), base::text_of(messages[i].control)) << i;
        ASSERT_EQ(back.payloads.size(), messages[i].payloads.size()) << i;
        for (std::size_t k = 0; k < back.payloads.size(); ++k)
            EXPECT_EQ(base::text_of(back.payloads[k]), base::text_of(messages[i].payloads[k]))
                << i << "/" << k;
    }
}

TYPED_TEST(TransportTest, KeepsTheOrderOfTenThousandMessages) {
    constexpr std::size_t kCount = 10'000;
    std::size_t sent = 0;
    ASSERT_TRUE(this->desk.until([&] {
        while (sent < kCount) {
            // Sizes on both sides of every threshold, in changing order.
            std::string text = std::to_string(sent) + " ";
            text.resize(text.size() + sent * 7919 % 6000, '.');
            const Sent result =
                this->client.transport->send(this->client.conn(), make_message({text}));
            if (result == Sent::Full) break;
            EXPECT_EQ(result, Sent::Ok);
            ++sent;
        }
        this->client.transport->flush();
        return this->server.messages().size() == kCount + 1;
    })) << sent;
    const auto messages = this->server.messages();
    for (std::size_t i = 0; i < kCount; ++i)
        ASSERT_TRUE(text_of_control(messages[i + 1]->message).starts_with(std::to_string(i) + " "))
            << i;
}

TYPED_TEST(TransportTest, TellsOfAPeersEndAfterAllItHadSaid) {
    for (int i = 0; i < 100; ++i)
        ASSERT_EQ(this->send(this->client, make_message({"last words"})), Sent::Ok);
    this->end(this->client);
    ASSERT_TRUE(this->desk.until([&] { return this->server.count(Kind::Disconnected) == 1; }));
    EXPECT_EQ(this->server.messages().size(), 101U);
    EXPECT_EQ(this->server.events.back().kind, Kind::Disconnected);
    EXPECT_EQ(this->server.events.back().conn, this->server_conn);
    EXPECT_EQ(this->server.transport->send(this->server_conn, make_message({"too late"})),
              Sent::Gone);
}

TYPED_TEST(TransportTest, ReconnectsToAServerThatComesBackUnderANewHandle) {
    const ConnId first = this->client.conn();
    this->end(this->server);
    ASSERT_TRUE(this->desk.until([&] { return this->client.count(Kind::Disconnected) == 1; }));
    EXPECT_EQ(this->client.transport->send(first, make_message({"x"})), Sent::Gone);
    Station next{this->world.serve()};
    this->desk.add(next);
    ASSERT_TRUE(this->desk.until([&] { return this->client.count(Kind::Connected) == 2; }));
    EXPECT_NE(this->client.conn(), first);
    EXPECT_EQ(this->client.transport->send(first, make_message({"x"})), Sent::Gone);
    ASSERT_EQ(this->send(this->client, make_message({"again"})), Sent::Ok);
    ASSERT_TRUE(this->desk.until([&] { return next.messages().size() == 1; }));
    EXPECT_EQ(text_of_control(next.messages()[0]->message), "again");
}

TYPED_TEST(TransportTest, ForgetsAConnectionItIsToldToDisconnect) {
    const ConnId first = this->client.conn();
    this->server.transport->disconnect(this->server_conn);
    EXPECT_EQ(this->server.transport->send(this->server_conn, make_message({"x"})), Sent::Gone);
    ASSERT_TRUE(this->desk.until([&] { return this->client.count(Kind::Connected) == 2; }));
    EXPECT_EQ(this->client.count(Kind::Disconnected), 1U);
    EXPECT_NE(this->client.conn(), first);
    ASSERT_EQ(this->send(this->client, make_message({"again"})), Sent::Ok);
    ASSERT_TRUE(this->desk.until([&] { return this->server.messages().size() == 2; }));
    EXPECT_NE(this->server.messages()[1]->conn, this->server_conn);
    for (std::size_t i = 2; i < this->server.events.size(); ++i)
        EXPECT_NE(this->server.events[i].conn, this->server_conn);
}

TYPED_TEST(TransportTest, DeliversWhatWasSentBeforeADisconnect) {
    ASSERT_EQ(this->server.transport->send(this->server_conn, make_message({"go away"})), Sent::Ok);
    this->server.transport->flush();
    ASSERT_TRUE(this->desk.until([&] { return this->client.messages().size() == 1; }));
    this->server.transport->disconnect(this->server_conn);
    ASSERT_TRUE(this->desk.until([&] { return this->client.count(Kind::Disconnected) == 1; }));
}

TYPED_TEST(TransportTest, AClientsDisconnectConnectsAnew) {
    const ConnId first = this->client.conn();
    this->client.transport->disconnect(first);
    ASSERT_TRUE(this->desk.until([&] { return this->client.count(Kind::Connected) == 2; }));
    EXPECT_EQ(this->client.count(Kind::Disconnected), 0U);
    EXPECT_NE(this->client.events.back().conn, first);
    ASSERT_TRUE(this->desk.until([&] { return this->server.count(Kind::Disconnected) == 1; }));
}

TYPED_TEST(TransportTest, SurvivesStrangersBytes) {
    std::mt19937 random{7};
    std::vector<std::string> rubbish{"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                     std::string(1000, '\0'),
                                     std::string(1000, '\xff'),
                                     "",
                                     "\x01"};
    for (int i = 0; i < 40; ++i) {
        std::string bytes(random() % 3000, ' ');
        for (char& c : bytes) c = static_cast<char>(random());
        rubbish.push_back(bytes);
    }
    for (const std::string& bytes : rubbish) {
        UniqueFd stranger = this->world.raw();
        [[maybe_unused]] const auto n =
            ::send(stranger.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        ASSERT_EQ(this->send(this->client, make_message({"still there"})), Sent::Ok);
    }
    ASSERT_TRUE(this->desk.until([&] {
        std::size_t ours = 0;
        for (const Incoming* in : this->server.messages()) ours += in->conn == this->server_conn;
        return ours == rubbish.size() + 1;
    }));
    EXPECT_EQ(this->client.count(Kind::Disconnected), 0U);
}

TYPED_TEST(TransportTest, ServesASecondServerOnTheSameListeningSocket) {
    // Two servers hold the listener, as during an upgrade; when the first ends, the other serves.
    Station next{this->world.serve()};
    this->desk.add(next);
    this->end(this->server);
    ASSERT_TRUE(this->desk.until([&] { return this->client.count(Kind::Connected) == 2; }));
    ASSERT_EQ(this->send(this->client, make_message({"upgraded"})), Sent::Ok);
    ASSERT_TRUE(this->desk.until([&] { return next.messages().size() == 1; }));
}

TYPED_TEST(TransportTest, ClosesConnectionsBeyondItsBound) {
    TypeParam other;
    Station small{other.serve({.queued_messages = 100, .connections = 3})};
    this->desk.add(small);
    std::vector<std::unique_ptr<Station>> clients;
    for (int i = 0; i < 3; ++i) {
        clients.push_back(std::make_unique<Station>(other.connect()));
        this->desk.add(*clients.back());
        ASSERT_TRUE(this->desk.until([&] { return clients.back()->conn() != 0; }));
        ASSERT_EQ(this->send(*clients.back(), make_message({"in"})), Sent::Ok);
    }
    ASSERT_TRUE(this->desk.until([&] { return small.messages().size() == 3; }));
    UniqueFd stranger = other.raw();
    ASSERT_TRUE(this->desk.until([&] {
        // A ZeroMQ server greets before it knows that there are too many.
        std::array<char, 64> bytes;
        const ssize_t got = ::recv(stranger.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
        return got == 0 || (got < 0 && errno == ECONNRESET);
    }));
    for (auto& each : clients) {
        ASSERT_EQ(this->send(*each, make_message({"still in"})), Sent::Ok);
        EXPECT_EQ(each->count(Kind::Disconnected), 0U);
    }
    ASSERT_TRUE(this->desk.until([&] { return small.messages().size() == 6; }));
    this->end(small);
}

TYPED_TEST(TransportTest, SaysFullInsteadOfBlockingAndLosesNothingItTook) {
    TypeParam other;
    Station crowded{other.serve({.queued_messages = 16, .connections = 16})};
    Station slow{other.connect()};
    Station quick{other.connect()};
    for (Station* station : {&crowded, &slow, &quick}) this->desk.add(*station);
    ASSERT_TRUE(this->desk.until([&] { return slow.conn() != 0 && quick.conn() != 0; }));
    ASSERT_EQ(this->send(slow, make_message({"slow"})), Sent::Ok);
    ASSERT_TRUE(this->desk.until([&] { return crowded.messages().size() == 1; }));
    const ConnId slow_conn = crowded.messages()[0]->conn;
    ASSERT_EQ(this->send(quick, make_message({"quick"})), Sent::Ok);
    ASSERT_TRUE(this->desk.until([&] { return crowded.messages().size() == 2; }));
    const ConnId quick_conn = crowded.messages()[1]->conn;

    this->desk.remove(slow);  // It stops reading; its kernel and ZeroMQ buffers still take some.
    std::size_t taken = 0;
    std::string text(100'000, 'z');
    Sent sent = Sent::Ok;
    for (std::size_t tries = 0; tries < 20'000 && sent == Sent::Ok; ++tries) {
        sent =
            crowded.transport->send(slow_conn, make_message({std::to_string(taken) + " " + text}));
        if (sent == Sent::Ok) ++taken;
        crowded.transport->flush();
        if (sent != Sent::Full) continue;
        // Full for good, not just until the I/O thread has written some.
        const auto again = [&] {
            sent = crowded.transport->send(slow_conn,
                                           make_message({std::to_string(taken) + " " + text}));
            crowded.transport->flush();
            return sent == Sent::Ok;
        };
        if (test::wait_until(again, std::chrono::milliseconds{100})) ++taken;
    }
    EXPECT_EQ(sent, Sent::Full);
    EXPECT_LT(taken, 20'000U);
    ASSERT_EQ(crowded.transport->send(quick_conn, make_message({"not starved"})), Sent::Ok);
    crowded.transport->flush();
    ASSERT_TRUE(this->desk.until([&] { return quick.messages().size() == 1; }));

    this->desk.add(slow);
    ASSERT_TRUE(this->desk.until([&] { return slow.messages().size() == taken; }))
        << slow.messages().size() << " of " << taken;
    for (std::size_t i = 0; i < taken; ++i)
        ASSERT_TRUE(
            text_of_control(slow.messages()[i]->message).starts_with(std::to_string(i) + " "));
    ASSERT_EQ(crowded.transport->send(slow_conn, make_message({"open again"})), Sent::Ok);
    crowded.transport->flush();
    ASSERT_TRUE(this->desk.until([&] { return slow.messages().size() == taken + 1; }));
    for (Station* station : {&crowded, &slow, &quick}) this->end(*station);
}

}  // namespace
}  // namespace forkmill::net
