// SPDX-License-Identifier: Apache-2.0
// FakeBroker: the other end of a ClientSession, frame by frame, as far as a test wants it;
// FakeTasks: a source of submits and a sink of outcomes.
//
// Threading: none.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/session/client_session.h"
#include "core/wire/codec.h"

namespace forkmill::test {

class FakeTasks final : public session::SubmitSource,
                        public session::OutcomeSink,
                        public session::ClientListener {
  public:
    struct Task {
        base::Blob body;
        std::uint32_t template_id = 0;
        bool settled = false;
        bool cancel = false;
        wire::Outcome outcome{};
        std::string result;
        int outcomes = 0;
    };

    std::uint64_t add(std::string_view body, std::uint32_t template_id = 0) {
        const std::uint64_t seq = end++;
        tasks[seq] =
            Task{base::Blob::copy(base::bytes_of(body)), template_id, false, false, {}, {}, 0};
        return seq;
    }
    void cancel(std::uint64_t seq) {
        tasks[seq].cancel = true;
        cancels.push_back({seq, false});
    }

    const session::SubmitItem* peek() override {
        while (cursor < end && (tasks[cursor].settled || tasks[cursor].cancel)) ++cursor;
        if (cursor == end) return nullptr;
        item = {};
        item.seq = cursor;
        item.template_id = tasks[cursor].template_id;
        item.resent = cursor < sent;
        item.body = base::Body::of(tasks[cursor].body);
        return &item;
    }
    void pop() override {
        ++cursor;
        sent = std::max(sent, cursor);
    }
    const wire::TemplateDef& template_of(std::uint32_t id) override {
        definition = {};
        definition.name = "task" + std::to_string(id);
        return definition;
    }
    std::optional<session::CancelItem> next_cancel() override {
        if (cancels.empty()) return std::nullopt;
        const session::CancelItem next = cancels.front();
        cancels.pop_front();
        return next;
    }
    void rewind() override {
        cursor = 1;
        cancels.clear();
        for (auto& [seq, task] : tasks) {
            if (task.cancel && !task.settled && seq < sent) cancels.push_back({seq, false});
        }
    }
    std::uint64_t floor() const override {
        std::uint64_t at = 1;
        while (at < end && tasks.at(at).settled) ++at;
        return at;
    }
    void pumped() override {}

    void on_accepted(std::uint64_t, std::uint64_t) override {}
    void on_refused(const wire::Refused& record) override { refused.push_back(record); }
    void on_forgotten(std::uint64_t first, std::uint64_t count) override {
        forgotten.push_back({first, count});
    }
    bool on_outcome(std::uint64_t seq, wire::Outcome outcome, const base::Body& body) override {
        Task& task = tasks[seq];
        task.settled = true;
        task.outcome = outcome;
        ++task.outcomes;
        task.result.clear();
        if (body.chunks) {
            for (const base::Blob& chunk : *body.chunks) task.result += base::text_of(chunk.view());
        } else {
            task.result = base::text_of(body.view);
        }
        return keep_results;
    }
    void on_partial(std::uint64_t seq, double fraction, std::string_view note) override {
        partials.push_back({seq, fraction, std::string{note}});
    }
    void on_reply(const wire::Reply& reply) override { replies.push_back(reply); }
    void on_turn(session::ClientCore& core) override {
        if (consumed != 0) core.taken(consumed, consumed_bytes);
        consumed = consumed_bytes = 0;
    }
    void on_client_state(session::ClientState state,
                         wire::Code code,
                         std::string_view text) override {
        states.push_back(state);
        last_code = code;
        last_text = text;
    }

    std::map<std::uint64_t, Task> tasks;
    std::uint64_t end = 1;
    std::uint64_t cursor = 1;
    std::uint64_t sent = 1;
    session::SubmitItem item;
    wire::TemplateDef definition;
    std::deque<session::CancelItem> cancels;
    std::vector<wire::Refused> refused;
    std::vector<wire::Range> forgotten;
    std::vector<wire::Partial> partials;
    std::vector<wire::Reply> replies;
    std::vector<session::ClientState> states;
    wire::Code last_code{};
    std::string last_text;
    bool keep_results = false;
    std::uint64_t consumed = 0;
    std::uint64_t consumed_bytes = 0;
};

/// One frame the client sent, decoded as far as tests look.
struct Heard {
    wire::Header header;
    std::vector<std::uint64_t> seqs;  ///< SUBMIT, CANCEL.
    std::vector<bool> resent;
    std::vector<std::string> bodies;  ///< Transfers as "#number:size".
    wire::Hello hello;
    wire::TemplateDef definition;
    wire::Credit credit;
    wire::Chunk chunk;
    std::size_t chunk_bytes = 0;
};

inline Heard hear(const base::Message& message) {
    Heard heard;
    wire::Cursor cursor;
    if (wire::decode_header(message, heard.header, cursor) != wire::Code::None) return heard;
    switch (heard.header.kind) {
        case wire::Kind::Submit: {
            wire::SubmitReader reader{cursor, message};
            wire::SubmitRecord record;
            while (reader.next(record)) {
                heard.seqs.push_back(record.seq);
                heard.resent.push_back(record.resent);
                heard.bodies.push_back(record.body.transfer != 0
                                           ? "#" + std::to_string(record.body.transfer) + ":" +
                                                 std::to_string(record.body.size)
                                           : std::string{base::text_of(record.body.body.view)});
            }
            break;
        }
        case wire::Kind::Cancel: {
            wire::Cancel cancel;
            if (wire::decode(cursor, cancel) == wire::Code::None) heard.seqs = cancel.seqs;
            break;
        }
        case wire::Kind::Hello:
            static_cast<void>(wire::decode(cursor, heard.hello));
            break;
        case wire::Kind::Template:
            static_cast<void>(wire::decode(cursor, heard.definition));
            break;
        case wire::Kind::Credit:
            static_cast<void>(wire::decode(cursor, heard.credit));
            break;
        case wire::Kind::Chunk:
            static_cast<void>(wire::decode(cursor, message, heard.chunk));
            heard.chunk_bytes = message.payloads.at(0).size();
            break;
        default:
            break;
    }
    return heard;
}

class FakeBroker {
  public:
    explicit FakeBroker(FakeTasks& source)
        : tasks(source), session(config(), source, source, source, now) {}

    static session::ClientSessionConfig config() {
        session::ClientSessionConfig config;
        config.key = {1, 2};
        config.stream = 77;
        return config;
    }

    void connect() { session.on_connected(++conn, now, out); }
    void cut() { session.on_disconnected(conn, now, out); }
    void welcome(std::uint64_t incarnation,
                 bool resumed,
                 std::uint64_t processed,
                 std::uint64_t records = 1'000'000,
                 std::uint64_t bytes = 1ULL << 30) {
        wire::Welcome welcome;
        welcome.incarnation = incarnation;
        welcome.resumed = resumed;
        welcome.received = processed;
        welcome.payload_max = 64U << 20;
        welcome.credit_records = records;
        welcome.credit_bytes = bytes;
        if (!resumed) next = 1;
        say(wire::encode({wire::Kind::Welcome}, welcome));
    }
    void say(const base::Message& message) { session.on_message(conn, message, now, out); }
    template <class Record>
    void tell(wire::Kind kind, const Record& record, std::uint64_t ack = 0) {
        say(wire::encode({kind, next++, ack, 0}, record));
    }
    void result(std::uint64_t seq,
                std::string_view body,
                std::uint64_t ack = 0,
                wire::Outcome outcome = wire::Outcome::Succeeded) {
        wire::ResultsWriter writer;
        writer.add(seq, outcome, wire::BodyRef::of(base::bytes_of(body)));
        say(writer.finish({wire::Kind::Results, next++, ack, 0}));
    }
    /// Pumps, and returns what the client said since the last call.
    std::vector<Heard> heard() {
        session.pump(now, out);
        return spoken();
    }
    std::vector<Heard> spoken() {
        std::vector<Heard> list;
        for (session::ClientOut::Item& item : out.items) {
            if (item.disconnect) ++disconnects;
            if (item.message.control.empty()) continue;
            list.push_back(hear(item.message));
            if (list.back().header.number != 0)
                received = std::max(received, list.back().header.number);
        }
        out.items.clear();
        return list;
    }
    std::vector<Heard> heard(wire::Kind kind) {
        std::vector<Heard> list;
        for (Heard& one : heard()) {
            if (one.header.kind == kind) list.push_back(std::move(one));
        }
        return list;
    }
    void pass(base::Duration time) {
        now += time;
        session.tick(now, out);
    }

    FakeTasks& tasks;
    base::Time now{std::chrono::hours{1}};
    session::ClientOut out;
    session::ClientSession session;
    net::ConnId conn = 0;
    std::uint64_t next = 1;
    std::uint64_t received = 0;
    int disconnects = 0;
};

}  // namespace forkmill::test
