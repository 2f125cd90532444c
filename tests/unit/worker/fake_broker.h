// SPDX-License-Identifier: Apache-2.0
// FakeBroker: the broker's end of one worker session, told by a test what to say; FakeHands: runs
// nothing until the test says so.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/session/session.h"
#include "core/wire/codec.h"
#include "worker/worker_core.h"

namespace forkmill::worker::test {

using base::Time;
using namespace std::chrono_literals;

inline std::string text(base::ByteView bytes) {
    return std::string{base::text_of(bytes)};
}

class FakeHands final : public Hands {
  public:
    void start(std::span<Job* const> jobs) override {
        waiting.insert(waiting.end(), jobs.begin(), jobs.end());
    }
    bool take_back(Job& job) override { return std::erase(waiting, &job) == 1; }
    void request_stop(Job& job) override { stopped.insert(&job); }
    void rekey(Job& job, std::uint64_t lease) override { job.lease = lease; }
    void running(std::vector<Running>& out) override {
        out.insert(out.end(), at_work.begin(), at_work.end());
    }

    /// The first waiting job begins.
    Job& begin(Time now) {
        EXPECT_FALSE(waiting.empty());
        Job* job = waiting.front();
        waiting.pop_front();
        at_work.push_back({job, now});
        return *job;
    }
    Finished end(Job& job,
                 std::string_view result,
                 wire::Outcome outcome = wire::Outcome::Succeeded) {
        std::erase_if(at_work, [&](const Running& running) { return running.job == &job; });
        return {&job, outcome, SmallBody{base::bytes_of(result)}};
    }

    std::deque<Job*> waiting;
    std::vector<Running> at_work;
    std::set<const Job*> stopped;
};

struct ToldResult {
    std::uint64_t lease = 0;
    wire::Outcome outcome{};
    std::string body;
    wire::ErrorInfo error;
};

class Fixture {
  public:
    explicit Fixture(std::uint32_t threads = 1) {
        CoreConfig config;
        config.hello.session = {1, 2};
        config.hello.stream = 77;
        config.hello.host = "here";
        config.hello.pid = 42;
        config.hello.threads = threads;
        config.hello.queues = {"default"};
        entry.name = "demo";
        entry.signature = "s";
        auto resolve = [this](std::string_view name, std::string_view signature) -> Found {
            if (name != entry.name) return {nullptr, {wire::Code::NoSuchTask, "no such task"}};
            if (signature != entry.signature)
                return {nullptr, {wire::Code::SignatureMismatch, "s is not i"}};
            return {&entry, {}};
        };
        core.emplace(std::move(config), hands, resolve, nullptr, nullptr, now);
    }

    /// Connects and, unless told otherwise, greets: WELCOME of `incarnation`.
    void connect(std::uint64_t incarnation = 1) {
        core->on_connected(now, out);
        read();
        ASSERT_TRUE(hello.has_value());
        welcome(incarnation);
    }
    void welcome(std::uint64_t incarnation) {
        const bool resumed = incarnation == broker_incarnation;
        if (!resumed) session.reset();
        broker_incarnation = incarnation;
        wire::Welcome welcome;
        welcome.incarnation = incarnation;
        welcome.resumed = resumed;
        welcome.received = session.received();
        welcome.payload_max = payload_max;
        ASSERT_TRUE(!resumed || session.resume(hello->received));
        core->on_message(wire::encode({wire::Kind::Welcome}, welcome), now, out);
        turn();
        while (const base::Message* message = session.next_transmit())
            core->on_message(*message, now, out);
        turn();
    }
    void cut() {
        core->on_disconnected(now);
        hello.reset();
    }
    template <class T>
    void say(wire::Kind kind, const T& record) {
        deliver(wire::encode(head(kind), record));
    }
    wire::Header head(wire::Kind kind) {
        return {
            kind, wire::is_numbered(kind) ? session.next_number() : 0, session.received(), floor};
    }
    void deliver(base::Message message) {
        session.queue(std::move(message));
        while (const base::Message* next = session.next_transmit())
            core->on_message(*next, now, out);
        turn();
    }
    void tell_template(wire::TemplateDef def = {}) {
        def.id = def.id == 0 ? 1 : def.id;
        if (def.name.empty()) def.name = "demo";
        if (def.signature.empty()) def.signature = "s";
        def.queue = "default";
        say(wire::Kind::Template, def);
    }
    /// Leases first, first+1, … for tasks of the same numbers.
    void lease(std::uint64_t first,
               std::uint64_t count = 1,
               std::string_view body = "x",
               std::uint32_t tmpl = 1) {
        wire::TasksWriter writer;
        for (std::uint64_t i = 0; i < count; ++i) {
            wire::TaskRecord record;
            record.lease = first + i;
            record.task = {9, first + i};
            record.template_id = tmpl;
            record.body = wire::BodyRef::of(base::bytes_of(body));
            if (!writer.fits(record)) deliver(writer.finish(head(wire::Kind::Tasks)));
            writer.add(record);
        }
        deliver(writer.finish(head(wire::Kind::Tasks)));
    }
    void finish(Job& job,
                std::string_view result,
                wire::Outcome outcome = wire::Outcome::Succeeded) {
        FinishedBatch batch;
        batch.list.push_back(hands.end(job, result, outcome));
        core->on_finished(batch, now);
        turn();
    }
    void pass(base::Duration time) {
        now += time;
        core->tick(now, out);
        turn();
    }
    void ack() {
        core->on_message(wire::encode_ack(session.received(), floor), now, out);
        turn();
    }
    void turn() {
        core->pump(now, out);
        read();
        EXPECT_EQ(core->check_invariants(), "");
    }

    /// Takes in what the worker said.
    void read() {
        disconnect = disconnect || out.disconnect;
        out.disconnect = false;
        for (const base::Message& message : std::exchange(out.messages, {})) {
            wire::Header header;
            wire::Cursor cursor;
            ASSERT_EQ(wire::decode_header(message, header, cursor), wire::Code::None);
            kinds.push_back(header.kind);
            if (header.kind == wire::Kind::Hello) {
                hello.emplace();
                ASSERT_EQ(wire::decode(cursor, *hello), wire::Code::None);
                continue;
            }
            if (header.ack != 0) {
                ASSERT_TRUE(session.on_ack(header.ack));
            }
            if (!wire::is_numbered(header.kind)) continue;
            if (deaf) continue;
            if (session.on_number(header.number, message.bytes()) != session::Verdict::Process)
                continue;
            numbered(header, cursor, message);
        }
    }

    Time now{1s};
    detail::TaskEntry entry;
    FakeHands hands;
    std::optional<WorkerCore> core;
    WorkerOut out;
    session::Session session;
    std::uint64_t broker_incarnation = 0;
    std::uint64_t floor = 0;
    std::uint64_t payload_max = wire::kPayloadMaxDefault;
    bool deaf = false;  ///< Numbered frames are lost.

    std::optional<wire::Hello> hello;
    bool disconnect = false;
    std::vector<wire::Kind> kinds;
    std::vector<ToldResult> results;
    std::vector<std::uint64_t> started, returned;
    std::vector<wire::HeldTask> held;
    std::vector<std::pair<std::uint64_t, bool>> blocked;
    std::vector<wire::Partial> partials;
    std::uint64_t last_results_frame = 0;
    bool drain = false;
    bool bye = false;
    int held_ends = 0;

  private:
    void numbered(const wire::Header& header, wire::Cursor& cursor, const base::Message& message) {
        switch (header.kind) {
            case wire::Kind::Results: {
                last_results_frame = header.number;
                wire::ResultsReader reader{cursor, message};
                ASSERT_EQ(reader.code(), wire::Code::None);
                wire::ResultRecord record;
                while (reader.next(record)) {
                    ToldResult told{record.ref, record.outcome, {}, {}};
                    if (record.body.transfer != 0) {
                        told.body = std::exchange(chunked, {});
                    } else {
                        told.body = text(record.body.body.view);
                    }
                    if (told.outcome != wire::Outcome::Succeeded) {
                        auto error = wire::unpack_error(base::bytes_of(told.body));
                        if (error) told.error = error.value();
                    }
                    results.push_back(std::move(told));
                }
                return;
            }
            case wire::Kind::Started:
                return take(cursor, wire::Started{}, [&](auto& r) { append(started, r.leases); });
            case wire::Kind::Return:
                return take(cursor, wire::Return{}, [&](auto& r) { append(returned, r.leases); });
            case wire::Kind::Held:
                return take(cursor, wire::Held{}, [&](auto& r) {
                    held.insert(held.end(), r.tasks.begin(), r.tasks.end());
                    held_ends += r.last ? 1 : 0;
                });
            case wire::Kind::Blocked:
                return take(
                    cursor, wire::Blocked{}, [&](auto& r) { blocked.emplace_back(r.lease, true); });
            case wire::Kind::Unblocked:
                return take(cursor, wire::Unblocked{}, [&](auto& r) {
                    blocked.emplace_back(r.lease, false);
                });
            case wire::Kind::Partial:
                return take(cursor, wire::Partial{}, [&](auto& r) { partials.push_back(r); });
            case wire::Kind::Chunk:
                chunked += text(message.payloads.at(0));
                return;
            case wire::Kind::Drain:
                drain = true;
                return;
            case wire::Kind::Bye:
                bye = true;
                return;
            default:
                ADD_FAILURE() << "a worker says " << wire::name_of(header.kind);
        }
    }
    template <class T, class Act>
    static void take(wire::Cursor& cursor, T record, Act act) {
        ASSERT_EQ(wire::decode(cursor, record), wire::Code::None);
        act(record);
    }
    static void append(std::vector<std::uint64_t>& to, const std::vector<std::uint64_t>& from) {
        to.insert(to.end(), from.begin(), from.end());
    }

    std::string chunked;
};

}  // namespace forkmill::worker::test
