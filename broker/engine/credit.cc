// SPDX-License-Identifier: Apache-2.0
// Credit: absolute limits that clients may send up to, and facts that wait for the disk.
//
// Records: what a session may still send and what it has unsettled never sum above
// tasks_per_session_max when credit is raised, so that nothing sent within it is refused.
// What clients may still send (unused_credit) and what is held never sum above memory_max when
// credit is raised. A quarter of the cap is set aside so that late sessions get a start.
#include <algorithm>

#include "broker/engine/core.h"

namespace forkmill::engine {

namespace {

constexpr std::uint64_t kLeastWindowMax = 64 * 1024;
constexpr std::uint64_t kRecordsStep = 1024;

/// What every session gets however many there are: their share of the quarter that is set aside.
std::uint64_t least_window(const Config& config) {
    return std::clamp<std::uint64_t>(
        config.memory_max / 4 / std::max(config.sessions_max, 1U), 1, kLeastWindowMax);
}

std::uint64_t unused_of(const Flow& flow) {
    return flow.bytes > flow.consumed_bytes ? flow.bytes - flow.consumed_bytes : 0;
}

}  // namespace

void Tables::open_credit(Session& session) {
    ++submitters;
    session.flow.records = records_allowed(session);
    raise_credit(session);
}

void Tables::close_credit(Session& session) {
    --submitters;
    unused_credit -= unused_of(session.flow);
    session.flow = Flow{};
}

/// Tops up the session's byte window. False: there is nothing to give now.
bool Tables::raise_credit(Session& session) {
    Flow& flow = session.flow;
    const std::uint64_t used = memory_used() + unused_credit;
    const std::uint64_t free = config.memory_max > used ? config.memory_max - used : 0;
    const std::uint64_t unused = unused_of(flow);
    const std::uint64_t set_aside = config.memory_max / 4;
    const std::uint64_t large = free > set_aside ? (free - set_aside) / 4 : 0;
    const std::uint64_t least = least_window(config);
    const std::uint64_t window = std::clamp(large, least, config.payload_max + least);
    if (unused >= window) return true;
    const std::uint64_t more = std::min(window - unused, free);
    flow.bytes = std::max(flow.bytes, flow.consumed_bytes) + more;
    // A record larger than what was left overdrew the window by its excess.
    if (unused == 0 && flow.bytes < flow.consumed_bytes + more)
        flow.bytes = flow.consumed_bytes + more;
    unused_credit += more;
    return unused + more >= least / 2;
}

/// All the records the session may ever have sent by now.
std::uint64_t Tables::records_allowed(const Session& session) const {
    const std::uint64_t bound = config.tasks_per_session_max;
    return session.flow.consumed_records + (bound > session.live ? bound - session.live : 0);
}

/// A record was dealt with or a task ended: tells the session once it is worth a message.
void Tables::credit_moved(Session& session) {
    Flow& flow = session.flow;
    const std::uint64_t step = std::min(kRecordsStep, config.tasks_per_session_max / 8 + 1);
    if (flow.dirty || records_allowed(session) < flow.records + step) return;
    flow.dirty = true;
    dirty_credit.push_back(streams[session.stream].session);
}

void Tables::consume(Session& session, std::uint64_t bytes) {
    Flow& flow = session.flow;
    const std::uint64_t before = unused_of(flow);
    ++flow.consumed_records;
    flow.consumed_bytes += bytes;
    const std::uint64_t after = unused_of(flow);
    unused_credit -= before - after;
    const bool low = after < config.payload_max / 2 || after < kLeastWindowMax;
    if (low && !flow.dirty) {
        flow.dirty = true;
        dirty_credit.push_back(streams[session.stream].session);
    }
    credit_moved(session);
}

void Tables::finished_one(Session& session) {
    --session.live;
    credit_moved(session);
}

void Core::refresh_credit(base::Time, Effects& out) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < dirty_credit.size(); ++i) {
        const SessionIx ix = dirty_credit[i];
        Session* session = session_at(ix);
        if (session == nullptr || !session->flow.dirty) continue;
        Flow& flow = session->flow;
        const std::uint64_t records = flow.records;
        const std::uint64_t bytes = flow.bytes;
        flow.records = std::max(flow.records, records_allowed(*session));
        const bool satisfied = raise_credit(*session);
        if (satisfied) {
            flow.dirty = false;
        } else {
            dirty_credit[kept++] = ix;  // Memory is full: asked again in the next turn.
        }
        if (flow.records == records && flow.bytes == bytes) continue;
        Effect& effect = out.list.emplace_back();
        effect.kind = Effect::Kind::Credit;
        effect.session = ix;
        effect.seq = flow.records;
        effect.count = flow.bytes;
    }
    dirty_credit.resize(kept);
}

/// All facts up to `position` are durable: the tasks among them may be worked on.
void Core::committed(std::uint64_t position, base::Time now, Effects& out) {
    while (!uncommitted.empty() && uncommitted.front().position <= position) {
        const Uncommitted next = uncommitted.front();
        uncommitted.pop_front();
        TaskNode* node = tasks.find(next.slot);
        if (node == nullptr || node->state != State::Accepting || node->seq != next.seq ||
            stream_of(*node) != next.stream)
            continue;
        place(next.slot, now, out);
    }
}

}  // namespace forkmill::engine
