// SPDX-License-Identifier: Apache-2.0
// Sharing: Cluster's language for operations on shared objects.
//
//   Sharing s; auto a = s.client(); auto q = s.queue(a); auto g = s.ask(a, {Verb::Get, q});
//   s.put(a, q, "x"); EXPECT_EQ(s.value(g), "x");
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "broker/engine/objects.h"
#include "tests/unit/engine/cluster.h"

namespace forkmill::wire {
inline void PrintTo(ObjectChange change, std::ostream* os) {
    *os << static_cast<int>(change);
}
}  // namespace forkmill::wire

namespace forkmill::engine::test {

using Kind = wire::ObjectKind;
using Verb = wire::ObjectVerb;
using wire::Code;

struct Ask {
    Verb verb{};
    ObjectId object = 0;
    std::uint32_t flags = 0;
    std::uint64_t owner = 0;
    base::Duration timeout{-1};
    std::uint64_t token = 0;
    std::uint64_t version = 0;
    std::int64_t index = 0;
    std::uint64_t count = 0;
    std::vector<std::pair<std::string, std::string>> items = {};
    std::vector<ObjectId> refs = {};  ///< Of the first item.
    std::string name = {};
    std::string type = {};
    wire::ObjectShape shape = {};
};

class Sharing : public Cluster {
  public:
    using Cluster::Cluster;

    /// The operation's number.
    std::uint64_t ask(SessionIx session, const Ask& ask) {
        wire::ObjectOp op;
        op.op = ++last_op_;
        op.verb = ask.verb;
        op.object = ask.object;
        op.flags = ask.flags;
        op.owner = ask.owner;
        op.timeout_ns = ask.timeout.count();
        op.token = ask.token;
        op.version = ask.version;
        op.index = ask.index;
        op.count = ask.count;
        for (const auto& [key, value] : ask.items)
            op.items.push_back({key, wire::BodyRef::of(base::bytes_of(value)), {}});
        if (!ask.refs.empty()) op.items.at(0).refs = ask.refs;
        op.name = ask.name;
        op.type = ask.type;
        op.shape = ask.shape;
        op.shaped = ask.shape.kind != Kind{};
        engine->operate(session, op, now, effects);
        step(std::string{wire::name_of(ask.verb)}.c_str());
        return op.op;
    }
    Code code_of(SessionIx session, const Ask& what) { return code(ask(session, what)); }
    bool waiting(std::uint64_t op) const { return answers.count(op) == 0; }
    const wire::ObjectReply& answer(std::uint64_t op) const {
        static const wire::ObjectReply kNone;
        EXPECT_FALSE(waiting(op)) << "operation " << op << " is not answered";
        return waiting(op) ? kNone : answers.at(op).second;
    }
    Code code(std::uint64_t op) const { return answer(op).code; }
    std::string value(std::uint64_t op, std::size_t item = 0) const {
        const wire::ObjectReply& reply = answer(op);
        if (reply.items.size() <= item) return "no item: " + std::string{wire::name_of(reply.code)};
        return std::string{base::text_of(reply.items[item].body.body.view)};
    }
    std::vector<std::string> values(std::uint64_t op) const {
        std::vector<std::string> all;
        for (std::size_t i = 0; i < answer(op).items.size(); ++i) all.push_back(value(op, i));
        return all;
    }

    ObjectId open(SessionIx session,
                  wire::ObjectShape shape,
                  std::uint32_t flags = 0,
                  std::string name = {},
                  std::string type = {}) {
        return answer(ask(session,
                          {.verb = Verb::Open,
                           .flags = flags | wire::kOpCreate,
                           .name = std::move(name),
                           .type = std::move(type),
                           .shape = shape}))
            .token;
    }
    /// One more handle of what is there.
    ObjectId share(SessionIx session, ObjectId object, std::uint32_t flags = 0) {
        return answer(ask(session, {.verb = Verb::Open, .object = object, .flags = flags})).token;
    }
    ObjectId queue(SessionIx session, std::uint64_t capacity = 100, std::uint32_t flags = 0) {
        return open(session, {.kind = Kind::Queue, .capacity = capacity}, flags);
    }
    ObjectId lock(SessionIx session, std::uint32_t flags = 0) {
        return open(session, {.kind = Kind::Lock}, flags);
    }
    std::uint64_t put(SessionIx session, ObjectId queue, std::string value) {
        return ask(session,
                   {.verb = Verb::Put, .object = queue, .items = {{"", std::move(value)}}});
    }
    std::uint64_t get(SessionIx session, ObjectId queue) {
        return ask(session, {.verb = Verb::Get, .object = queue});
    }
    std::uint64_t acquire(SessionIx session, ObjectId lock, std::uint64_t owner = 1) {
        return ask(session, {.verb = Verb::Acquire, .object = lock, .owner = owner});
    }
    std::uint64_t release(SessionIx session,
                          ObjectId lock,
                          std::uint64_t owner = 1,
                          std::uint64_t token = 0) {
        return ask(session,
                   {.verb = Verb::Release, .object = lock, .owner = owner, .token = token});
    }
    bool alive(ObjectId object) const {
        for (const ObjectRow& row : engine->objects({}, 1000))
            if (row.id == object) return true;
        return false;
    }
    void writable(SessionIx session, bool yes) {
        engine->set_writable(session, yes, now, effects);
        step("writable");
    }
    std::size_t objects() const { return engine->objects({}, 100'000).size(); }

  private:
    std::uint64_t last_op_ = 0;
};

}  // namespace forkmill::engine::test
