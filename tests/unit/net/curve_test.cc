// SPDX-License-Identifier: Apache-2.0
#include "core/net/curve.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "core/net/zap.h"
#include "tests/unit/net/net_support.h"

namespace forkmill::net {
namespace {

using Kind = Incoming::Kind;

TEST(Curve, KnowsAKeyWhenItSeesOne) {
    const CurvePair pair = make_curve_pair();
    EXPECT_TRUE(is_curve_key(pair.public_key));
    EXPECT_TRUE(is_curve_key(pair.secret_key));
    EXPECT_NE(pair.public_key, make_curve_pair().public_key);
    ASSERT_TRUE(public_of(pair.secret_key).ok());
    EXPECT_EQ(public_of(pair.secret_key).value(), pair.public_key);
    for (const std::string& bad : {std::string{},
                                   std::string(39, 'a'),
                                   std::string(41, 'a'),
                                   std::string(39, 'a') + "\n",
                                   std::string(39, 'a') + "\"",
                                   std::string(40, '#')})
        EXPECT_FALSE(is_curve_key(bad)) << bad;
}

TEST(AllowList, IsReplacedAsAWholeOrNotAtAll) {
    const std::string a = make_curve_pair().public_key;
    const std::string b = make_curve_pair().public_key;
    AllowList list;
    ASSERT_TRUE(list.replace({{a, "alice", {"submit"}}, {b, "bob", {"work"}}}).ok());
    ASSERT_TRUE(list.find(a).has_value());
    EXPECT_EQ(list.find(a)->name, "alice");
    EXPECT_EQ(list.find_name("bob")->roles, std::vector<std::string>{"work"});
    EXPECT_FALSE(list.find(make_curve_pair().public_key).has_value());
    EXPECT_FALSE(list.find("").has_value());
    for (const std::vector<AllowedKey>& bad :
         {std::vector<AllowedKey>{{a, "alice", {}}, {a, "eve", {}}},
          std::vector<AllowedKey>{{a, "alice", {}}, {b, "alice", {}}},
          std::vector<AllowedKey>{{"rubbish", "eve", {}}},
          std::vector<AllowedKey>{{a, "", {}}}}) {
        EXPECT_FALSE(list.replace(bad).ok());
        EXPECT_EQ(list.size(), 2U);
    }
    ASSERT_TRUE(list.replace({}).ok());
    EXPECT_EQ(list.size(), 0U);
}

/// A server with keys and an allow-list that names alice.
struct Guarded {
    Guarded() {
        EXPECT_TRUE(allowed->replace({{alice.public_key, "alice", {"submit"}}}).ok());
        auto started = Zap::start(allowed);
        EXPECT_TRUE(started.ok());
        zap = std::move(started).value();
        auto router = ZmqRouter::make(
            {.connections_max = 64, .curve = CurveServer{keys.secret_key, keys.public_key}});
        EXPECT_TRUE(router.ok());
        EXPECT_TRUE(router.value()->adopt(world.endpoint(), world.duplicate()).ok());
        server = std::make_unique<Station>(std::move(router).value());
        desk.add(*server);
    }
    ~Guarded() {
        for (auto& client : clients) desk.remove(*client);
        desk.remove(*server);
        clients.clear();
        server.reset();
    }
    Station& connect(std::optional<CurveClient> curve) {
        auto dealer = ZmqDealer::make(world.endpoint(),
                                      {.reconnect_first = std::chrono::milliseconds{5},
                                       .linger = std::chrono::milliseconds{0},
                                       .curve = std::move(curve)});
        EXPECT_TRUE(dealer.ok());
        clients.push_back(std::make_unique<Station>(std::move(dealer).value()));
        desk.add(*clients.back());
        return *clients.back();
    }
    CurveClient with(const CurvePair& pair) const {
        return CurveClient{keys.public_key, pair.public_key, pair.secret_key};
    }
    ZmqRouter& router() { return dynamic_cast<ZmqRouter&>(*server->transport); }

    TcpWorld world;
    CurvePair keys = make_curve_pair();
    CurvePair alice = make_curve_pair();
    std::shared_ptr<AllowList> allowed = std::make_shared<AllowList>();
    std::unique_ptr<Zap> zap;
    std::unique_ptr<Station> server;
    std::vector<std::unique_ptr<Station>> clients;
    Desk desk;
};

TEST(Zap, LetsAnAllowedKeyInUnderItsName) {
    Guarded guarded;
    Station& alice = guarded.connect(guarded.with(guarded.alice));
    ASSERT_TRUE(guarded.desk.until([&] { return alice.conn() != 0; }));
    ASSERT_EQ(
        alice.transport->send(alice.conn(), make_message({"hello", std::string(50'000, 's')})),
        Sent::Ok);
    ASSERT_TRUE(guarded.desk.until([&] { return guarded.server->messages().size() == 1; }));
    const Incoming& got = *guarded.server->messages()[0];
    EXPECT_EQ(guarded.router().principal(got.conn), "alice");
    EXPECT_EQ(got.message.payloads.at(0).size(), 50'000U);
    EXPECT_EQ(guarded.zap->accepted(), 1U);
}

TEST(Zap, RefusesAStrangersKeyAndTheClientLearnsWhy) {
    Guarded guarded;
    Station& stranger = guarded.connect(guarded.with(make_curve_pair()));
    ASSERT_TRUE(guarded.desk.until([&] { return stranger.count(Kind::Rejected) == 1; }));
    EXPECT_EQ(stranger.events[0].reason, "key rejected");
    EXPECT_EQ(stranger.events[0].conn, 0U);
    // It goes on trying, and does not repeat itself.
    ASSERT_TRUE(guarded.desk.until([&] { return guarded.zap->refused() >= 3; }));
    EXPECT_EQ(stranger.events.size(), 1U);
    EXPECT_EQ(guarded.server->events.size(), 0U);
}

TEST(Zap, RefusesAPeerWithoutKeysOrWithTheWrongServerKey) {
    Guarded guarded;
    Station& plain = guarded.connect(std::nullopt);
    const CurvePair other = make_curve_pair();
    Station& misled = guarded.connect(
        CurveClient{other.public_key, guarded.alice.public_key, guarded.alice.secret_key});
    ASSERT_TRUE(guarded.desk.until(
        [&] { return plain.count(Kind::Rejected) >= 1 && misled.count(Kind::Rejected) >= 1; }));
    EXPECT_NE(plain.events[0].reason.find("encryption"), std::string::npos);
    EXPECT_EQ(plain.count(Kind::Connected) + misled.count(Kind::Connected), 0U);
    EXPECT_EQ(guarded.server->events.size(), 0U);
}

TEST(Zap, FollowsTheListWhenItIsReplaced) {
    Guarded guarded;
    const CurvePair bob = make_curve_pair();
    Station& late = guarded.connect(guarded.with(bob));
    ASSERT_TRUE(guarded.desk.until([&] { return late.count(Kind::Rejected) == 1; }));
    Station& alice = guarded.connect(guarded.with(guarded.alice));
    ASSERT_TRUE(guarded.desk.until([&] { return alice.conn() != 0; }));
    ASSERT_EQ(alice.transport->send(alice.conn(), make_message({"hello"})), Sent::Ok);
    ASSERT_TRUE(guarded.desk.until([&] { return guarded.server->messages().size() == 1; }));
    ASSERT_TRUE(guarded.allowed->replace({{bob.public_key, "bob", {}}}).ok());
    ASSERT_TRUE(guarded.desk.until([&] { return late.conn() != 0; }));
    // Alice's key went: her connection is cut and she cannot come back.
    guarded.router().disconnect_principal("alice");
    ASSERT_TRUE(guarded.desk.until(
        [&] { return alice.count(Kind::Disconnected) == 1 && alice.count(Kind::Rejected) == 1; }));
    EXPECT_EQ(guarded.server->count(Kind::Disconnected), 1U);
    EXPECT_EQ(alice.count(Kind::Connected), 1U);
}

TEST(Zap, LetsEverybodyIntoARouterWithoutKeys) {
    Guarded guarded;
    IpcWorld open;
    Station server{open.serve()};
    Station client{open.connect()};
    guarded.desk.add(server);
    guarded.desk.add(client);
    ASSERT_TRUE(guarded.desk.until([&] { return client.conn() != 0; }));
    ASSERT_EQ(client.transport->send(client.conn(), make_message({"hello"})), Sent::Ok);
    ASSERT_TRUE(guarded.desk.until([&] { return server.messages().size() == 1; }));
    EXPECT_EQ(server.transport->principal(server.conn()), "");
    guarded.desk.remove(server);
    guarded.desk.remove(client);
}

TEST(Zap, ARouterWithKeysInsistsOnAnAllowList) {
    const CurvePair keys = make_curve_pair();
    const RouterOptions options{.connections_max = 16,
                                .curve = CurveServer{keys.secret_key, keys.public_key}};
    EXPECT_FALSE(ZmqRouter::make(options).ok());
    auto zap = Zap::start(std::make_shared<AllowList>());
    ASSERT_TRUE(zap.ok());
    EXPECT_FALSE(Zap::start(std::make_shared<AllowList>()).ok());
    EXPECT_TRUE(ZmqRouter::make(options).ok());
}

TEST(Zap, TheSelfTestPassesWithAHandlerOnly) {
    EXPECT_FALSE(curve_self_test().ok());
    auto zap = Zap::start(std::make_shared<AllowList>());
    ASSERT_TRUE(zap.ok());
    const auto verdict = curve_self_test();
    EXPECT_TRUE(verdict.ok()) << verdict.failure().text;
    EXPECT_GE(zap.value()->refused(), 1U);
}

}  // namespace
}  // namespace forkmill::net
