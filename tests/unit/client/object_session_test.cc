// SPDX-License-Identifier: Apache-2.0
// Operations on shared objects over the whole way: a client's session, the gateway, the engine.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>

#include "broker/engine/status.h"
#include "broker/gateway.h"
#include "tests/unit/client/fake_broker.h"

namespace forkmill::test {
namespace {

using wire::Code;
using wire::ObjectOp;
using wire::ObjectReply;
using wire::ObjectVerb;

/// Asks what it is told and keeps what is answered.
class Link final : public session::ObjectLink {
  public:
    std::uint64_t ask(ObjectOp op) {
        op.op = ++last;
        for (wire::ObjectItem& item : op.items) {
            const base::Blob blob = base::Blob::copy(item.body.body.view);
            item.body = {base::Body::of(blob), 0, blob.size()};
        }
        queue.push_back(std::move(op));
        return last;
    }
    const ObjectOp* peek_operation() override { return queue.empty() ? nullptr : &queue.front(); }
    void pop_operation() override { queue.pop_front(); }
    void on_answer(const ObjectReply& reply) override {
        ObjectReply& whole = answers[reply.op];
        ++parts[reply.op];
        const bool ended = (whole.flags & wire::kReplyMore) == 0 && parts[reply.op] > 1;
        EXPECT_FALSE(ended) << "answered twice";
        std::vector<wire::ObjectItem> items = std::move(whole.items);
        whole = reply;
        for (const wire::ObjectItem& item : reply.items) {
            std::string text{base::text_of(item.body.body.view)};
            if (item.body.body.chunks)
                for (const base::Blob& part : *item.body.body.chunks)
                    text += base::text_of(part.view());
            items.push_back(
                {item.key,
                 {base::Body::of(base::Blob::copy(base::bytes_of(text))), 0, text.size()},
                 item.refs});
        }
        whole.items = std::move(items);
    }
    void on_event(const wire::ObjectEvent& event) override { events.push_back(event.change); }
    void on_objects_lost() override { ++losses; }

    std::uint64_t last = 0;
    std::deque<ObjectOp> queue;
    std::map<std::uint64_t, ObjectReply> answers;
    std::map<std::uint64_t, int> parts;
    std::vector<wire::ObjectChange> events;
    int losses = 0;
};

struct Client {
    explicit Client(std::uint64_t key, base::Time now)
        : session(config(key), tasks, tasks, tasks, now), conn(key) {
        session.core().set_objects(&link);
    }
    static session::ClientSessionConfig config(std::uint64_t key) {
        session::ClientSessionConfig config;
        config.key = {key, key};
        config.stream = key;
        return config;
    }
    FakeTasks tasks;
    Link link;
    session::ClientSession session;
    std::uint64_t conn;
    bool deaf = false;  ///< What comes is lost, acks included.
};

class Pair {
  public:
    explicit Pair(const engine::Config& bounds = {}, const broker::GatewayConfig& config = {})
        : engine(bounds, 1, now, 1), gateway(config, engine, now) {}

    Client& client() {
        const std::uint64_t key = clients.size() + 1;
        clients.push_back(std::make_unique<Client>(key, now));
        connect(*clients.back());
        return *clients.back();
    }
    void connect(Client& client) {
        session::ClientOut out;
        client.session.on_connected(client.conn, now, out);
        carry(out);
        run();
    }
    void cut(Client& client) {
        gateway.on_disconnected({0, client.conn}, now);
        session::ClientOut out;
        client.session.on_disconnected(client.conn, now, out);
        client.conn += 1000;
    }
    void carry(session::ClientOut& out) {
        for (auto& item : out.items)
            if (!item.message.control.empty())
                gateway.on_message({0, item.conn}, base::Message{item.message}, now, 1);
    }
    /// Until nobody has anything to say.
    void run() {
        for (int turns = 0; turns < 200; ++turns) {
            now += std::chrono::microseconds{10};
            bool busy = false;
            gateway.pump(now, 1);
            std::vector<broker::Outgoing> sent = std::move(gateway.out());
            gateway.out().clear();
            for (broker::Outgoing& each : sent) {
                for (auto& client : clients) {
                    if (client->conn != each.to.conn || client->deaf) continue;
                    if (each.disconnect) ended.push_back(each.to.conn);
                    if (each.message.control.empty()) continue;
                    busy = true;
                    session::ClientOut out;
                    client->session.on_message(client->conn, each.message, now, out);
                    carry(out);
                }
            }
            for (auto& client : clients) {
                session::ClientOut out;
                client->session.pump(now, out);
                busy = busy || !out.items.empty();
                carry(out);
            }
            EXPECT_EQ(gateway.check_invariants(), "");
            if (!busy) return;
        }
    }
    const ObjectReply& ask(Client& client, ObjectOp op) {
        const std::uint64_t number = client.link.ask(std::move(op));
        run();
        EXPECT_EQ(client.link.answers.count(number), 1U) << "operation " << number;
        return client.link.answers[number];
    }
    std::uint64_t open(Client& client, wire::ObjectKind kind, std::string name = {}) {
        ObjectOp op;
        op.verb = ObjectVerb::Open;
        op.flags = wire::kOpCreate;
        op.name = std::move(name);
        op.shaped = true;
        op.shape.kind = kind;
        op.shape.capacity = 10'000;
        return ask(client, op).token;
    }

    base::Time now{std::chrono::seconds{100}};
    engine::Engine engine;
    broker::Gateway gateway;
    std::vector<std::unique_ptr<Client>> clients;
    std::vector<std::uint64_t> ended;
};

ObjectOp on(std::uint64_t object, ObjectVerb verb, std::vector<std::string> values = {}) {
    static std::deque<std::string> kept;  // Views of them are copied by Link::ask().
    ObjectOp op;
    op.verb = verb;
    op.object = object;
    for (std::string& value : values) {
        kept.push_back(std::move(value));
        op.items.push_back(
            {"",
             wire::BodyRef{base::Body::of(base::bytes_of(kept.back())), 0, kept.back().size()},
             {}});
    }
    return op;
}

std::string text(const ObjectReply& reply, std::size_t i = 0) {
    return reply.items.size() > i ? std::string{base::text_of(reply.items[i].body.body.view)}
                                  : "nothing";
}

TEST(ObjectSession, ItemsOfEverySizeComeThroughWhole) {
    Pair pair;
    Client& a = pair.client();
    Client& b = pair.client();
    const auto queue = pair.open(a, wire::ObjectKind::Queue, "jobs");
    ASSERT_EQ(pair.open(b, wire::ObjectKind::Queue, "jobs"), queue);
    for (const std::size_t size : {std::size_t{0},
                                   std::size_t{5},
                                   wire::kInlineBodyMax - 1,
                                   wire::kInlineBodyMax,
                                   wire::kBodyFrameMax,
                                   wire::kBodyFrameMax + 1,
                                   std::size_t{16} << 20}) {
        std::string value(size, 'x');
        if (size > 0) value.back() = 'y';
        EXPECT_EQ(pair.ask(a, on(queue, ObjectVerb::Put, {value})).code, Code::None) << size;
        EXPECT_EQ(text(pair.ask(b, on(queue, ObjectVerb::Get))), value) << size;
    }
}

TEST(ObjectSession, AnAnswerOfManyItemsComesInPartsOfOneMoment) {
    Pair pair;
    Client& a = pair.client();
    const auto list = pair.open(a, wire::ObjectKind::List);
    for (int batch = 0; batch < 4; ++batch) {
        ObjectOp op = on(list, ObjectVerb::Write, std::vector<std::string>(500, "value"));
        op.index = wire::kListEnd;
        EXPECT_EQ(pair.ask(a, op).code, Code::None);
    }
    ObjectOp large =
        on(list, ObjectVerb::Write, std::vector<std::string>(64, std::string(60'000, 'l')));
    large.index = wire::kListEnd;
    EXPECT_EQ(pair.ask(a, large).code, Code::None);
    const ObjectReply& all = pair.ask(a, on(list, ObjectVerb::Read));
    EXPECT_EQ(all.items.size(), 2064U);
    EXPECT_EQ(text(all, 2063), std::string(60'000, 'l'));
    EXPECT_GT(a.link.parts[a.link.last], 1);
}

TEST(ObjectSession, ACutNeitherDoublesAPutNorLosesAGet) {
    Pair pair;
    Client& a = pair.client();
    const auto queue = pair.open(a, wire::ObjectKind::Queue);
    const auto get = a.link.ask(on(queue, ObjectVerb::Get));
    pair.run();
    a.deaf = true;
    a.link.ask(on(queue, ObjectVerb::Put, {"1"}));
    a.link.ask(on(queue, ObjectVerb::Put, {"2"}));
    pair.run();
    EXPECT_EQ(a.link.answers.count(get), 0U) << "the answer was lost with its connection";
    pair.cut(a);
    a.deaf = false;
    pair.connect(a);
    EXPECT_EQ(text(a.link.answers[get]), "1");
    EXPECT_EQ(text(pair.ask(a, on(queue, ObjectVerb::Get))), "2");
    ObjectOp empty = on(queue, ObjectVerb::Get);
    empty.timeout_ns = 0;
    EXPECT_EQ(pair.ask(a, empty).code, Code::QueueEmpty);
}

TEST(ObjectSession, AnswersToAllThatMayWaitEndNoSession) {
    engine::Config bounds;
    bounds.object_waits_per_session_max = 6000;
    broker::GatewayConfig config;
    config.answers_max = 4 * bounds.object_waits_per_session_max;
    Pair pair{bounds, config};
    Client& a = pair.client();
    Client& b = pair.client();
    const auto event = pair.open(a, wire::ObjectKind::Event, "go");
    for (int i = 0; i < 6000; ++i) a.link.ask(on(event, ObjectVerb::Wait));
    pair.run();
    a.deaf = true;
    pair.ask(b, on(pair.open(b, wire::ObjectKind::Event, "go"), ObjectVerb::Notify));
    a.link.ask(on(event, ObjectVerb::Info));
    pair.run();
    EXPECT_EQ(pair.engine.objects({}, 10).at(0).handles, 2U) << "it asked before it could ack";
}

TEST(ObjectSession, WhoParksTooManyIsToldAndWhoTakesNoAnswersIsEnded) {
    Pair pair;
    Client& a = pair.client();
    const auto queue = pair.open(a, wire::ObjectKind::Queue);
    for (int i = 0; i < 1100; ++i) a.link.ask(on(queue, ObjectVerb::Get));
    pair.run();
    EXPECT_EQ(a.link.answers[a.link.last].code, Code::ObjectLimit);
    EXPECT_EQ(a.link.answers.size(), 1U + (1100 - 1024));

    Client& b = pair.client();
    const auto lock = pair.open(b, wire::ObjectKind::Lock);
    b.deaf = true;
    // What it says gets there; what it is told does not, so it keeps to what its own window allows:
    // many operations to a message.
    for (int i = 0; i < 20'000; ++i) b.link.ask(on(lock, ObjectVerb::Info));
    pair.run();
    EXPECT_EQ(pair.engine.objects({}, 10).size(), 1U) << "its session ended, and its lock with it";
}

TEST(ObjectSession, EventsAndLossesAreTold) {
    Pair pair;
    Client& a = pair.client();
    const auto event = pair.open(a, wire::ObjectKind::Event);
    EXPECT_EQ(pair.ask(a, on(event, ObjectVerb::Watch)).code, Code::None);
    pair.ask(a, on(event, ObjectVerb::Notify));
    EXPECT_EQ(a.link.events, std::vector<wire::ObjectChange>{wire::ObjectChange::Changed});
    EXPECT_EQ(a.link.losses, 1) << "the first WELCOME is that of a new incarnation";
}

TEST(ObjectSession, AValueAboveTheLimitIsAnsweredForItself) {
    Pair pair;
    Client& a = pair.client();
    const auto queue = pair.open(a, wire::ObjectKind::Queue);
    EXPECT_EQ(pair.ask(a, on(queue, ObjectVerb::Put, {std::string((64 << 20) + 1, 'x')})).code,
              Code::TooBig);
    EXPECT_EQ(pair.ask(a, on(queue, ObjectVerb::Put, {"x"})).code, Code::None);
}

}  // namespace
}  // namespace forkmill::test
