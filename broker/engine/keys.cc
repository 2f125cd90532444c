// SPDX-License-Identifier: Apache-2.0
// Several handles of one task (a `key`, an attach), and the end of a client's interest in numbers.
#include <algorithm>
#include <cstring>

#include "broker/engine/core.h"

namespace forkmill::engine {

namespace {

constexpr std::size_t kWaitersMax = 1024;

// 128 bits against accidents, not against enemies: a principal collides with itself only.
struct Digest {
    std::uint64_t hi = 0x9ae16a3b2f90404fULL;
    std::uint64_t lo = 0xc3a5c85c97cb3127ULL;
    void add(base::ByteView bytes) {
        std::size_t i = 0;
        for (; i + 8 <= bytes.size(); i += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, bytes.data() + i, 8);
            mix(word);
        }
        std::uint64_t tail = bytes.size() - i;
        for (; i < bytes.size(); ++i) tail = tail << 8 | static_cast<std::uint8_t>(bytes[i]);
        mix(tail);
    }
    void mix(std::uint64_t word) {
        lo = (lo ^ word) * 0x9ddfea08eb382d69ULL;
        hi = (hi + lo) * 0xff51afd7ed558ccdULL;
        hi ^= hi >> 32;
        lo ^= lo >> 29;
    }
};

}  // namespace

void Tables::digest_of(const TaskNode& node,
                       const base::Body& body,
                       std::uint64_t& hi,
                       std::uint64_t& lo) const {
    Digest digest;
    const Template& t = *template_of(node);
    digest.add(base::bytes_of(t.def.name));
    digest.add(base::bytes_of(t.def.signature));
    digest.add(base::bytes_of(t.def.queue));
    if (body.chunks) {
        // Chunks are cut at one size everywhere, so equal bodies have equal chunks.
        for (const base::Blob& chunk : *body.chunks) digest.add(chunk.view());
    } else {
        digest.add(body.view);
    }
    hi = digest.hi;
    lo = digest.lo;
}

/// True: the submit was answered by another task of this key, or refused.
bool Core::submit_keyed(Slot slot,
                        Session& session,
                        const wire::Extras& extras,
                        const base::Body& body,
                        base::Time now,
                        Effects& out) {
    TaskNode& node = tasks[slot];
    if (extras.key.size() > wire::kKeyMax) {
        withdraw(slot, wire::Code::InvalidRange, "the key is longer than 64 bytes", out);
        return true;
    }
    std::uint64_t hi = 0, lo = 0;
    digest_of(node, body, hi, lo);
    std::string text = session.info.principal + '\0' + extras.key;
    const auto found = key_of.find(text);
    if (found == key_of.end()) {
        std::uint32_t at = static_cast<std::uint32_t>(keys.size());
        if (free_keys.empty()) {
            keys.emplace_back();
        } else {
            at = free_keys.back();
            free_keys.pop_back();
        }
        keys[at] = KeyEntry{text, slot, hi, lo};
        key_of.emplace(std::move(text), at);
        tasks.side_of(node).key = at;
        node.set(kKeyed);
        return false;
    }
    const KeyEntry& entry = keys[found->second];
    if (entry.digest_hi != hi || entry.digest_lo != lo) {
        withdraw(slot,
                 wire::Code::Conflict,
                 "the key belongs to a task with other arguments: " +
                     base::to_string(id_of(tasks[entry.slot])),
                 out);
        return true;
    }
    const Side* primary = tasks.find_side(tasks[entry.slot]);
    if (primary->waiters.size() >= kWaitersMax) {
        withdraw(slot, wire::Code::Busy, "too many handles of one key", out);
        return true;
    }
    Side& side = tasks.side_of(node);
    if (!side.awaited.empty()) release_awaited(slot);
    side.dependencies.clear();
    tell_accepted(slot, 0, out);
    join_waiters(slot, entry.slot, now, out);
    return true;
}

void Tables::forget_key(Slot slot) {
    const Side* side = tasks.find_side(tasks[slot]);
    if (side == nullptr || side->key == kNone) return;
    KeyEntry& entry = keys[side->key];
    key_of.erase(entry.text);
    entry = KeyEntry{};
    free_keys.push_back(side->key);
}

void Core::join_waiters(Slot alias, Slot primary, base::Time now, Effects& out) {
    TaskNode& node = tasks[alias];
    node.set(kAlias);
    set_state(node, State::Scheduled);
    const TaskNode& target = tasks[primary];
    if (is_final(target.state)) {
        if (target.has(kBodyExpired))
            return finish_error(alias,
                                wire::Outcome::Failed,
                                wire::Code::ResultExpired,
                                "the result was kept for its time and is gone",
                                wire::Ran::Yes,
                                now,
                                out);
        return finish(alias, target.outcome, base::Body{body_of(target)}, now, out);
    }
    tasks.side_of(node).primary = primary;
    tasks.side_of(tasks[primary]).waiters.push_back(alias);
}

/// The handle ends; with the last one the task is cancelled, unless its own client still waits.
void Tables::leave_waiters(Slot alias) {
    Side& side = *tasks.find_side(tasks[alias]);
    const Slot primary = side.primary;
    side.primary = kNone;
    Side& other = *tasks.find_side(tasks[primary]);
    std::erase(other.waiters, alias);
    const TaskNode& node = tasks[primary];
    if (other.waiters.empty() && node.has(kOwnerGone) && !node.has(kDetached) &&
        !is_final(node.state))
        abandoned.push_back(primary);
}

void Core::attach(SessionIx ix,
                  std::uint64_t seq,
                  const base::TaskId& task,
                  base::Time now,
                  Effects& out) {
    Session* session = session_at(ix);
    if (session == nullptr || session->stream == kNone) return;
    Stream& stream = streams[session->stream];
    const std::uint32_t known = stream.window.find(seq);
    if (known != Window::kAbsent) {
        if (known == Window::kSettled)
            refuse(ix, seq, wire::Code::Forgotten, "the number was used before", out);
        return;
    }
    if (!stream.window.fits(seq) || session->live >= config.tasks_per_session_max)
        return refuse(ix, seq, wire::Code::Busy, "too many unsettled tasks", out);
    const auto found = stream_of_id.find(task.stream);
    Slot target = found == stream_of_id.end() ? kNone : slot_in(streams[found->second], task.seq);
    const auto denied = [&](const Stream& of) {
        return of.principal != stream.principal && session->info.role != wire::Role::Admin;
    };
    if (target == kNone || denied(streams[found->second]))
        return refuse(ix, seq, wire::Code::NoSuchTask, "no such task, or its result is gone", out);
    if (tasks[target].has(kAlias)) {
        const Side* side = tasks.find_side(tasks[target]);
        if (side != nullptr && side->primary != kNone) target = side->primary;
    }
    const Side* side = tasks.find_side(tasks[target]);
    if (side != nullptr && side->waiters.size() >= kWaitersMax)
        return refuse(ix, seq, wire::Code::Busy, "too many handles of one task", out);
    if (tasks[target].has(kBodyExpired))
        return refuse(ix,
                      seq,
                      wire::Code::ResultExpired,
                      "the result was kept for its time and is gone",
                      out);
    const Slot handle = new_task(session->stream, kNone, seq);
    ++session->live;
    set_state(tasks[handle], State::Accepting);
    tasks[handle].set(kAttached);
    ++counters.accepted;  // An attach is answered by its outcome alone.
    join_waiters(handle, target, now, out);
}

/// The outcome was kept for result_ttl; after twice that nothing is known of the task any more.
void Core::outcome_timer(Slot slot, base::Time now) {
    TaskNode& node = tasks[slot];
    if (node.has(kBodyExpired)) return free_task(slot);
    drop_body(node);
    forget_key(slot);
    if (Side* side = tasks.find_side(node); side != nullptr) side->key = kNone;
    node.set(kBodyExpired);
    timers.arm(node.timer, now + config.result_ttl, Timers::Kind::Outcome, slot);
}

void Core::release(SessionIx ix, std::uint64_t first, std::uint64_t count, base::Time) {
    Session* session = session_at(ix);
    if (session == nullptr || session->stream == kNone || count == 0) return;
    Stream& stream = streams[session->stream];
    passed.clear();
    const std::uint64_t last = count - 1 > UINT64_MAX - first ? UINT64_MAX : first + count - 1;
    for (const auto& [seq, slot] : stream.below)
        if (seq >= first && seq <= last) passed.push_back(slot);
    const std::uint64_t end = std::min(last, stream.window.end());
    for (std::uint64_t seq = std::max(first, stream.window.first()); seq <= end; ++seq) {
        const std::uint32_t slot = stream.window.find(seq);
        if (slot < Window::kSettled) passed.push_back(slot);
    }
    for (const Slot slot : passed) {
        if (is_final(tasks[slot].state)) {
            free_task(slot);
        } else {
            tasks[slot].set(kReleased);
        }
    }
}

/// The client will never ask for these numbers: what is kept for it only goes.
void Core::set_floor(SessionIx ix, std::uint64_t floor) {
    Session* session = session_at(ix);
    if (session == nullptr || session->stream == kNone) return;
    Stream& stream = streams[session->stream];
    if (floor <= stream.window.floor()) return;
    passed.clear();
    stream.window.raise_floor(floor, [&](std::uint64_t seq, Slot slot) {
        const TaskNode& node = tasks[slot];
        const bool kept = node.has(kDetached) || node.has(kKeyed) || !is_final(node.state);
        if (!kept) passed.push_back(slot);
        stream.below.emplace(seq, slot);
    });
    for (const Slot slot : passed) free_task(slot);
}

}  // namespace forkmill::engine
