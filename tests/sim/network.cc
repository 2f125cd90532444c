// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/network.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "core/wire/codec.h"

namespace sim {

using std::chrono::microseconds;
using std::chrono::seconds;

namespace {

namespace wire = forkmill::wire;

/// What a message is about: leases, numbers of tasks.
std::string records_text(wire::Kind kind, wire::Cursor cursor, const Message& message) {
    std::string text;
    const auto list = [&text](const auto& numbers) {
        for (const std::uint64_t number : numbers) text += " " + std::to_string(number);
    };
    if (kind == wire::Kind::Tasks) {
        wire::TasksReader reader{cursor, message};
        for (wire::TaskRecord task; reader.next(task);)
            text += " " + std::to_string(task.lease) + "=" + std::to_string(task.task.stream) +
                    "/" + std::to_string(task.task.seq);
    } else if (kind == wire::Kind::Submit) {
        wire::SubmitReader reader{cursor, message};
        for (wire::SubmitRecord task; reader.next(task);) text += " " + std::to_string(task.seq);
    } else if (kind == wire::Kind::Results) {
        wire::ResultsReader reader{cursor, message};
        for (wire::ResultRecord result; reader.next(result);)
            text += " " + std::to_string(result.ref);
    } else if (kind == wire::Kind::Return) {
        wire::Return back;
        if (wire::decode(cursor, back) == wire::Code::None) list(back.leases);
    } else if (kind == wire::Kind::Stale) {
        wire::Stale stale;
        if (wire::decode(cursor, stale) == wire::Code::None) list(stale.leases);
    } else if (kind == wire::Kind::Started) {
        wire::Started started;
        if (wire::decode(cursor, started) == wire::Code::None) list(started.leases);
    } else if (kind == wire::Kind::Cancel) {
        wire::Cancel cancel;
        if (wire::decode(cursor, cancel) == wire::Code::None) list(cancel.seqs);
    } else if (kind == wire::Kind::CancelLease) {
        wire::CancelLease cancel;
        if (wire::decode(cursor, cancel) == wire::Code::None)
            text += " " + std::to_string(cancel.lease) + (cancel.kill ? " kill" : "");
    } else if (kind == wire::Kind::Held) {
        wire::Held held;
        if (wire::decode(cursor, held) == wire::Code::None)
            for (const wire::HeldTask& task : held.tasks)
                text += " " + std::to_string(task.lease) + "=" + std::to_string(task.task.stream) +
                        "/" + std::to_string(task.task.seq);
    } else if (kind == wire::Kind::Adopt) {
        wire::Adopt adopt;
        if (wire::decode(cursor, adopt) == wire::Code::None)
            for (const auto& mapping : adopt.leases)
                text += " " + std::to_string(mapping.old_lease) + ">" +
                        std::to_string(mapping.new_lease);
    }
    return text;
}

std::string text_of(std::uint64_t conn, bool from_client, const Message& message) {
    wire::Header header;
    wire::Cursor cursor;
    std::string text = "conn " + std::to_string(conn) + (from_client ? " > " : " < ");
    if (wire::decode_header(message, header, cursor) != wire::Code::None) return text + "rubbish";
    text += wire::name_of(header.kind);
    text += " number " + std::to_string(header.number) + " ack " + std::to_string(header.ack) +
            " floor " + std::to_string(header.floor);
    return text + records_text(header.kind, cursor, message);
}

}  // namespace

void Network::say(const std::string& what) const {
    if (!trace) return;
    std::cerr << std::chrono::duration_cast<microseconds>(clock_.now().time_since_epoch()).count()
              << " " << what << "\n";
}

std::uint64_t Network::connect(End client, End server) {
    const std::uint64_t conn = next_++;
    wires_.emplace(conn, Wire{std::move(client), std::move(server), {}});
    if (faults.cut_mean > Duration::zero()) {
        clock_.after(random_.between(Duration::zero(), 2 * faults.cut_mean), [this, conn] {
            if (faults.cut_mean == Duration::zero() || !alive(conn)) return;
            ++cuts;
            cut(conn, true, true);
        });
    }
    return conn;
}

void Network::send(std::uint64_t conn, bool from_client, const Message& message) {
    const auto found = wires_.find(conn);
    if (found == wires_.end()) return;
    if (trace) say("sent " + text_of(conn, from_client, message));
    if (random_.chance(faults.drop)) {
        ++lost;
        say("lost");
        clock_.after(random_.between(microseconds{100}, seconds{2}), [this, conn] {
            if (alive(conn)) cut(conn, true, true);
        });
        return;
    }
    Time& last = found->second.last[from_client ? 0 : 1];
    Time when = clock_.now() + random_.between(microseconds{5}, faults.delay_max);
    if (random_.chance(faults.reorder)) {
        ++swapped;
    } else {
        when = std::max(when, last);
        last = when;
    }
    deliver(conn, from_client, when, message);
    if (random_.chance(faults.duplicate)) {
        ++doubled;
        deliver(
            conn, from_client, when + random_.between(microseconds{0}, faults.delay_max), message);
    }
}

void Network::deliver(std::uint64_t conn, bool from_client, Time when, Message message) {
    clock_.at(when, [this, conn, from_client, message = std::move(message)]() mutable {
        const auto found = wires_.find(conn);
        if (found == wires_.end()) return;
        if (trace) say("came " + text_of(conn, from_client, message));
        // Copied: what arrives may end the connection and with it the handler.
        const auto handler =
            from_client ? found->second.server.on_message : found->second.client.on_message;
        handler(conn, std::move(message));
    });
}

void Network::cut(std::uint64_t conn, bool tell_client, bool tell_server) {
    const auto found = wires_.find(conn);
    if (found == wires_.end()) return;
    say("cut conn " + std::to_string(conn));
    const Wire wire = std::move(found->second);
    wires_.erase(found);
    const auto tell = [&](const End& end) {
        clock_.after(random_.between(microseconds{10}, microseconds{500}),
                     [conn, told = end.on_disconnected] { told(conn); });
    };
    if (tell_client) tell(wire.client);
    if (tell_server) tell(wire.server);
}

}  // namespace sim
