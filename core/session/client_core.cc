// SPDX-License-Identifier: Apache-2.0
#include "core/session/client_core.h"

#include <algorithm>
#include <utility>

#include "core/wire/codec.h"

namespace forkmill::session {

struct ClientCore::Impl {
    Session& session;
    Transfers& transfers;
    SubmitSource& source;
    OutcomeSink& sink;

    bool welcomed = false;
    wire::SubmitWriter writer{};
    std::vector<bool> told{};       // By template id.
    std::uint64_t sending_seq = 0;  // Whose body the transfer carries that is partly out.

    std::uint64_t credit_records = 0;  // What the peer allows, absolute.
    std::uint64_t credit_bytes = 0;
    std::uint64_t sent_records = 0;
    std::uint64_t sent_bytes = 0;
    bool starved = false;

    std::uint64_t taken_records = 0;  // What we consumed, and what we allowed beyond it.
    std::uint64_t taken_bytes = 0;
    std::uint64_t granted_records = 0;
    std::uint64_t granted_bytes = 0;

    ObjectLink* objects = nullptr;
    std::uint32_t minor = 0;  // Of the broker: before 1 there are no objects.
    wire::ObjectWriter object_writer{};
    std::optional<wire::ObjectOp> operation{};  // On its way: the first `shipped` bodies are out.
    std::size_t shipped = 0;
    wire::BodyBudget budget{};

    std::vector<wire::Query> queries{};
    std::vector<wire::Range> releases{};
    bool cancel_all = false;
    bool cancel_all_kill = false;

    wire::Header header(wire::Kind kind) const {
        return {kind, session.next_number(), session.received(), source.floor()};
    }

    void queue(base::Message message) {
        session.queue(std::move(message));
        session.ack_told();
    }
    template <class Record>
    void say(wire::Kind kind, const Record& record) {
        finish();
        queue(wire::encode(header(kind), record));
    }
    void finish() {
        if (writer.count() != 0) queue(writer.finish(header(wire::Kind::Submit)));
    }
    void finish_objects() {
        if (object_writer.count() != 0) queue(object_writer.finish(header(wire::Kind::Object)));
    }

    // The last body may reach beyond the byte limit: one that is larger than the whole allowance
    // must get through.
    bool may_send() const { return sent_records < credit_records && sent_bytes < credit_bytes; }

    void tell_credit();
    void tell_small();
    void tell_template(const SubmitItem& item);
    bool submit(const SubmitItem& item);
    void tell_cancels();
    void tell_objects();
    void refuse_objects();
    bool operate();
    base::Status on_results(wire::Cursor& cursor, const base::Message& message);
    base::Status on_answers(wire::Cursor& cursor, const base::Message& message);
    base::Status on_events(wire::Cursor& cursor, const base::Message& message);
    base::Status take_bodies(std::vector<wire::ObjectItem>& items);
    base::Status take_body(const wire::BodyRef& ref, base::Body& body);
};

ClientCore::ClientCore(Session& session,
                       Transfers& transfers,
                       SubmitSource& source,
                       OutcomeSink& sink)
    : impl_(new Impl{session, transfers, source, sink}) {}
ClientCore::~ClientCore() = default;

void ClientCore::set_objects(ObjectLink* objects) {
    impl_->objects = objects;
}

ObjectLink* ClientCore::objects() const {
    return impl_->objects;
}

void ClientCore::on_welcome(const wire::Welcome& welcome, bool fresh) {
    Impl& i = *impl_;
    i.welcomed = true;
    i.minor = welcome.minor;
    if (fresh) {
        i.writer = {};
        i.told.clear();
        i.sending_seq = 0;
        i.credit_records = i.credit_bytes = 0;
        i.sent_records = i.sent_bytes = 0;
        i.taken_records = i.taken_bytes = 0;
        i.granted_records = i.granted_bytes = 0;
        i.source.rewind();
        i.object_writer = {};
        i.operation.reset();
        if (i.objects != nullptr) i.objects->on_objects_lost();
    }
    i.credit_records = std::max(i.credit_records, welcome.credit_records);
    i.credit_bytes = std::max(i.credit_bytes, welcome.credit_bytes);
}

bool ClientCore::takes(wire::Kind kind) {
    switch (kind) {
        case wire::Kind::Accepted:
        case wire::Kind::Refused:
        case wire::Kind::Forgotten:
        case wire::Kind::Results:
        case wire::Kind::Partial:
        case wire::Kind::Credit:
        case wire::Kind::Reply:
        case wire::Kind::ObjectReply:
        case wire::Kind::ObjectEvent:
            return true;
        default:
            return false;
    }
}

void ClientCore::pump(bool speak) {
    Impl& i = *impl_;
    i.sink.on_turn(*this);
    i.starved = false;
    if (i.welcomed && speak) {
        i.tell_credit();
        i.tell_small();
        // One body goes out at a time: whoever began one goes on with it.
        const bool submits_first = i.transfers.sending() && !i.operation;
        if (!submits_first) i.tell_objects();
        while (i.session.can_send()) {
            const SubmitItem* item = i.source.peek();
            if (i.transfers.sending() && (item == nullptr || item->seq != i.sending_seq))
                i.transfers.give_up(i.session, i.source.floor());
            if (item == nullptr || !i.submit(*item)) break;
        }
        i.finish();
        if (submits_first && !i.transfers.sending()) i.tell_objects();
        i.tell_cancels();
    }
    i.source.pumped();
}

bool ClientCore::blocked() const {
    return impl_->starved || !impl_->session.can_send();
}

void ClientCore::Impl::tell_credit() {
    const bool low = granted_records < taken_records + kResultRecords / 2 ||
                     granted_bytes < taken_bytes + kResultBytes / 2;
    if (!low) return;
    granted_records = taken_records + kResultRecords;
    granted_bytes = taken_bytes + kResultBytes;
    say(wire::Kind::Credit, wire::Credit{granted_records, granted_bytes});
}

void ClientCore::Impl::tell_small() {
    for (wire::Query& query : std::exchange(queries, {})) say(wire::Kind::Query, query);
    if (!releases.empty()) say(wire::Kind::Release, wire::Release{std::exchange(releases, {})});
    if (std::exchange(cancel_all, false)) {
        wire::Cancel all;
        all.all = true;
        all.kill = std::exchange(cancel_all_kill, false);
        say(wire::Kind::Cancel, all);
    }
}

void ClientCore::Impl::tell_template(const SubmitItem& item) {
    if (told.size() <= item.template_id) told.resize(item.template_id + 1, false);
    if (told[item.template_id]) return;
    told[item.template_id] = true;
    wire::TemplateDef def = source.template_of(item.template_id);
    def.id = item.template_id;
    say(wire::Kind::Template, def);
}

bool ClientCore::Impl::submit(const SubmitItem& item) {
    if (item.attach != nullptr) {
        say(wire::Kind::Attach, wire::Attach{item.seq, *item.attach});
        source.pop();
        return true;
    }
    const std::uint64_t size = item.body.size();
    if (!may_send()) {
        starved = true;
        return false;
    }
    tell_template(item);
    wire::SubmitRecord record;
    record.template_id = item.template_id;
    record.seq = item.seq;
    record.resent = item.resent;
    record.extras = item.extras;
    if (item.body.chunks || size > wire::kBodyFrameMax) {
        finish();
        sending_seq = item.seq;
        const std::optional<std::uint64_t> transfer =
            transfers.send(session, source.floor(), item.body);
        if (!transfer) return false;
        record.body = wire::BodyRef::of_transfer(*transfer, size);
    } else {
        record.body = wire::BodyRef::of(item.body);
    }
    if (!writer.fits(record)) finish();
    writer.add(record);
    ++sent_records;
    sent_bytes += size;
    source.pop();
    if (writer.full()) finish();
    return true;
}

void ClientCore::Impl::tell_cancels() {
    wire::Cancel ask;
    wire::Cancel kill;
    kill.kill = true;
    while (const std::optional<CancelItem> item = source.next_cancel()) {
        wire::Cancel& list = item->kill ? kill : ask;
        list.seqs.push_back(item->seq);
        if (list.seqs.size() < wire::kRecordsMax) continue;
        say(wire::Kind::Cancel, list);
        list.seqs.clear();
    }
    if (!ask.seqs.empty()) say(wire::Kind::Cancel, ask);
    if (!kill.seqs.empty()) say(wire::Kind::Cancel, kill);
}

void ClientCore::Impl::tell_objects() {
    if (objects == nullptr) return;
    if (minor == 0) return refuse_objects();
    finish();
    while (session.can_send() && operate()) {
    }
    finish_objects();
}

/// An older broker does not know the kinds: nothing may be said to it.
void ClientCore::Impl::refuse_objects() {
    while (const wire::ObjectOp* next = objects->peek_operation()) {
        wire::ObjectReply reply;
        reply.op = next->op;
        reply.code = wire::Code::ProtoKind;
        reply.text = "this broker has no shared objects";
        objects->pop_operation();
        objects->on_answer(reply);
    }
}

/// False: there is none, or the window is full before all of it is out.
bool ClientCore::Impl::operate() {
    if (!operation) {
        const wire::ObjectOp* next = objects->peek_operation();
        if (next == nullptr) return false;
        operation = *next;
        shipped = 0;
        budget = {};
    }
    for (; shipped < operation->items.size(); ++shipped) {
        wire::BodyRef& ref = operation->items[shipped].body;
        if (budget.fits_record(ref.body)) {
            ref = wire::BodyRef::of(ref.body);
            continue;
        }
        finish_objects();
        const std::uint64_t size = ref.body.size();
        const std::optional<std::uint64_t> transfer =
            transfers.send(session, source.floor(), ref.body);
        if (!transfer) return false;
        ref = wire::BodyRef::of_transfer(*transfer, size);
    }
    if (!object_writer.fits(*operation)) finish_objects();
    object_writer.add(*operation);
    operation.reset();
    objects->pop_operation();
    if (object_writer.full()) finish_objects();
    return true;
}

void ClientCore::query(std::uint64_t id, std::string_view what, std::string_view argument) {
    impl_->queries.push_back(wire::Query{id, std::string{what}, std::string{argument}});
}

void ClientCore::release(std::uint64_t first, std::uint64_t count) {
    impl_->releases.push_back(wire::Range{first, count});
}

void ClientCore::cancel_all(bool kill) {
    impl_->cancel_all = true;
    impl_->cancel_all_kill = impl_->cancel_all_kill || kill;
}

void ClientCore::taken(std::uint64_t records, std::uint64_t bytes) {
    impl_->taken_records += records;
    impl_->taken_bytes += bytes;
}

std::uint64_t ClientCore::credit_records_left() const {
    return impl_->credit_records - std::min(impl_->credit_records, impl_->sent_records);
}

base::Status ClientCore::on_message(const wire::Header&, const base::Message& message) {
    Impl& i = *impl_;
    wire::Header header;
    wire::Cursor cursor;
    const wire::Code bad = wire::decode_header(message, header, cursor);
    if (bad != wire::Code::None) return base::Failure{std::string{wire::name_of(bad)}};
    const auto with = [&](auto record, auto&& act) -> base::Status {
        const wire::Code code = wire::decode(cursor, record);
        if (code != wire::Code::None) return base::Failure{std::string{wire::name_of(code)}};
        act(record);
        return base::Done{};
    };
    switch (header.kind) {
        case wire::Kind::Results:
            return i.on_results(cursor, message);
        case wire::Kind::ObjectReply:
            return i.on_answers(cursor, message);
        case wire::Kind::ObjectEvent:
            return i.on_events(cursor, message);
        case wire::Kind::Accepted:
            return with(wire::Accepted{}, [&](const wire::Accepted& accepted) {
                for (const wire::Range& range : accepted.ranges)
                    i.sink.on_accepted(range.first, range.count);
            });
        case wire::Kind::Refused:
            return with(wire::Refused{},
                        [&](const wire::Refused& refused) { i.sink.on_refused(refused); });
        case wire::Kind::Forgotten:
            return with(wire::Forgotten{}, [&](const wire::Forgotten& forgotten) {
                for (const wire::Range& range : forgotten.ranges)
                    i.sink.on_forgotten(range.first, range.count);
            });
        case wire::Kind::Partial:
            return with(wire::Partial{}, [&](const wire::Partial& partial) {
                i.sink.on_partial(partial.ref, partial.fraction, partial.note);
            });
        case wire::Kind::Credit:
            return with(wire::Credit{}, [&](const wire::Credit& credit) {
                i.credit_records = std::max(i.credit_records, credit.records);
                i.credit_bytes = std::max(i.credit_bytes, credit.bytes);
            });
        case wire::Kind::Reply:
            return with(wire::Reply{}, [&](const wire::Reply& reply) { i.sink.on_reply(reply); });
        default:
            return base::Failure{"this kind is not for a client"};
    }
}

base::Status ClientCore::Impl::on_results(wire::Cursor& cursor, const base::Message& message) {
    wire::ResultsReader reader{cursor, message};
    wire::ResultRecord record;
    while (reader.next(record)) {
        base::Body body;
        if (base::Status taken = take_body(record.body, body); !taken.ok()) return taken;
        if (sink.on_outcome(record.ref, record.outcome, body)) continue;
        ++taken_records;
        taken_bytes += body.size();
    }
    if (reader.code() != wire::Code::None)
        return base::Failure{std::string{wire::name_of(reader.code())}};
    return base::Done{};
}

/// The body that a record names, whole.
base::Status ClientCore::Impl::take_body(const wire::BodyRef& ref, base::Body& body) {
    if (ref.transfer == 0) {
        body = ref.body;
        return base::Done{};
    }
    base::Result<base::Body> whole = transfers.take(ref.transfer, ref.size);
    if (!whole.ok()) return whole.failure();
    body = std::move(whole).value();
    return base::Done{};
}

base::Status ClientCore::Impl::take_bodies(std::vector<wire::ObjectItem>& items) {
    for (wire::ObjectItem& item : items) {
        base::Body body;
        if (base::Status taken = take_body(item.body, body); !taken.ok()) return taken;
        item.body = wire::BodyRef{std::move(body), 0, item.body.size};
    }
    return base::Done{};
}

base::Status ClientCore::Impl::on_answers(wire::Cursor& cursor, const base::Message& message) {
    wire::ObjectReplyReader reader{cursor, message};
    wire::ObjectReply reply;
    while (reader.next(reply)) {
        if (base::Status taken = take_bodies(reply.items); !taken.ok()) return taken;
        if (objects != nullptr) objects->on_answer(reply);
    }
    if (reader.code() != wire::Code::None)
        return base::Failure{std::string{wire::name_of(reader.code())}};
    return base::Done{};
}

base::Status ClientCore::Impl::on_events(wire::Cursor& cursor, const base::Message& message) {
    wire::ObjectEventReader reader{cursor, message};
    wire::ObjectEvent event;
    while (reader.next(event)) {
        if (base::Status taken = take_bodies(event.items); !taken.ok()) return taken;
        if (objects != nullptr) objects->on_event(event);
    }
    if (reader.code() != wire::Code::None)
        return base::Failure{std::string{wire::name_of(reader.code())}};
    return base::Done{};
}

}  // namespace forkmill::session
