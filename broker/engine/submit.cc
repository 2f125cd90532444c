// SPDX-License-Identifier: Apache-2.0
// Submits: templates, admission at the bounds, arguments that are results.
#include <algorithm>

#include "broker/engine/core.h"
#include "core/base/check.h"

namespace forkmill::engine {

namespace {

constexpr std::uint64_t kDelayMax = 30ULL * 24 * 3600 * 1'000'000'000;
constexpr std::uint64_t kRetryAfterMs = 100;

// Tasks submitted from inside tasks may go a tenth beyond a cap, else the outer ones could not end.
std::uint64_t with_reserve(std::uint64_t cap, bool nested) {
    return nested ? cap + cap / 10 : cap;
}

bool may_be_sent_again(wire::Code code) {
    return code == wire::Code::Busy || code == wire::Code::UnknownDependency ||
           code == wire::Code::Draining;
}

wire::Code check_definition(const wire::TemplateDef& def) {
    if (def.name.empty() || def.name.size() > wire::kTaskNameMax) return wire::Code::InvalidName;
    if (def.signature.size() > wire::kSignatureMax) return wire::Code::LimitText;
    if (def.delay_ns > kDelayMax || def.timeout_ns > kDelayMax || def.crash_limit == 0)
        return wire::Code::InvalidRange;
    return wire::Code::None;
}

}  // namespace

/// What is wrong with a definition is told with each of its tasks, never by a disconnect.
wire::Code Core::define_template(SessionIx ix, const wire::TemplateDef& def) {
    Session& session = *sessions[ix];
    if (session.stream == kNone) return wire::Code::DeniedRole;
    if (def.id > wire::kTemplatesMax) return wire::Code::TooManyTemplates;
    if (session.templates.size() <= def.id) session.templates.resize(def.id + 1);
    Registered& entry = session.templates[def.id];
    if (entry.lane != kNone) return wire::Code::None;  // Said again after a resume.
    const std::uint32_t queue = lines.queue_named(def.queue.empty() ? "default" : def.queue);
    entry.refused = check_definition(def);
    if (entry.refused != wire::Code::None) return wire::Code::None;
    if (queue == kNone) {
        entry.refused = wire::Code::NoSuchQueue;
        return wire::Code::None;
    }
    if (!lines.admits_priority(session.stream, queue, def.priority)) {
        entry.refused = wire::Code::InvalidRange;
        return wire::Code::None;
    }
    const std::uint32_t id = templates.intern(def);
    if (id == Templates::kFull) {
        entry.refused = wire::Code::TooManyTemplates;
        return wire::Code::None;
    }
    ++templates[id].lanes;
    const Stream& stream = streams[session.stream];
    entry.lane = lines.open_lane(session.stream, stream.principal, queue, id, def.priority);
    lines.lane(entry.lane).refs = 1;
    if (session.paused) lines.pause(session.stream, true);
    return wire::Code::None;
}

void Core::refuse(SessionIx ix,
                  std::uint64_t seq,
                  wire::Code code,
                  std::string text,
                  Effects& out) {
    Session& session = *sessions[ix];
    ++counters.refused;
    Effect& effect = out.list.emplace_back();
    effect.kind = Effect::Kind::Refused;
    effect.session = ix;
    effect.seq = seq;
    effect.code = code;
    effect.count = code == wire::Code::Busy ? kRetryAfterMs : 0;
    if (!text.empty()) {
        out.texts.push_back(std::move(text));
        effect.text = static_cast<std::uint32_t>(out.texts.size());
    }
    if (session.stream != kNone) credit_moved(session);
    // A number that will not come again must not hold up the floor.
    Window& window = streams[session.stream].window;
    if (may_be_sent_again(code) || !window.fits(seq)) return;
    if (window.find(seq) == Window::kAbsent) window.put(seq, Window::kSettled);
    window.settle(seq);
}

/// Bounds and capabilities, cheapest first. None: the task may be taken.
wire::Code Core::admit(const Session& session,
                       std::uint32_t lane_id,
                       const base::Body& body,
                       std::string& text) {
    const bool nested = session.worker != nullptr;
    const Lane& lane = lines.lane(lane_id);
    const Queue& queue = lines.queues()[lane.queue];
    if (commit_failed) {
        text = "the broker's store failed; no new tasks are taken";
        return wire::Code::Busy;
    }
    const std::uint64_t size = body.size();
    if (size > config.payload_max) {
        text = "arguments of " + std::to_string(size) + " bytes; the limit is " +
               std::to_string(config.payload_max);
        return wire::Code::TooBig;
    }
    if (session.live >= with_reserve(config.tasks_per_session_max, nested) &&
        session.flow.consumed_records > session.flow.records) {
        text = "the session has " + std::to_string(session.live) + " unsettled tasks";
        return wire::Code::Busy;
    }
    if (queue.tasks >= with_reserve(queue.config.tasks_max, nested)) {
        text =
            "queue \"" + queue.config.name + "\" holds " + std::to_string(queue.tasks) + " tasks";
        return wire::Code::Busy;
    }
    const std::uint64_t limit =
        nested ? config.memory_max : config.memory_max - config.memory_max / 10;
    if (memory_used() + size > limit) {
        text = "the broker's memory is full";
        return wire::Code::Busy;
    }
    if (queue.offers_version == lane.offers_seen) return lane.verdict;
    return verdict_of(lane_id, text);
}

/// Whether the workers of the queue can ever run it, as far as they are known.
wire::Code Tables::verdict_of(std::uint32_t lane_id, std::string& text) {
    Lane& lane = lines.lane(lane_id);
    const Queue& queue = lines.queues()[lane.queue];
    const Template& t = templates[lane.template_id];
    lane.offers_seen = queue.offers_version;
    lane.verdict = wire::Code::None;
    if (const Pool* pool = breakage_of(lane.queue); pool != nullptr) {
        text = pool->text;
        lane.offers_seen = 0;  // The text is told each time.
        return lane.verdict = wire::Code::PoolBroken;
    }
    const std::string* other = nullptr;
    for (const SessionIx ix : queue.workers) {
        if (runs(*sessions[ix]->worker, lane.template_id)) return wire::Code::None;
        const auto found = sessions[ix]->worker->offers.find(t.offer);
        if (found != sessions[ix]->worker->offers.end()) other = &found->second;
    }
    if (queue.workers.empty()) return wire::Code::None;  // It waits for the first one.
    if (other != nullptr) {
        text = "task \"" + t.def.name + "\" has the signature " + t.def.signature +
               " here, but workers offer " + *other;
        lane.verdict = wire::Code::SignatureMismatch;
    } else if (config.local) {
        text = "\"" + t.def.name + "\" was not there when the workers' snapshot was taken";
        lane.verdict = wire::Code::NotInSnapshot;
    } else if (t.is_bare) {
        text = "no worker of queue \"" + queue.config.name + "\" runs the program " + t.offer;
        lane.verdict = wire::Code::ForeignCode;
    }
    if (lane.verdict != wire::Code::None) lane.offers_seen = 0;
    return lane.verdict;
}

void Core::submit(SessionIx ix,
                  std::uint32_t session_template,
                  std::uint64_t seq,
                  const base::Body& body,
                  const wire::Extras* extras,
                  bool resent,
                  base::Time now,
                  base::WallNanos wall,
                  Effects& out) {
    Session* found = session_at(ix);
    if (found == nullptr || found->stream == kNone) return;
    Session& session = *found;
    ++counters.submitted;
    consume(session, body.size());
    Stream& stream = streams[session.stream];
    const std::uint32_t known = stream.window.find(seq);
    if (known == Window::kSettled && stream.below.count(seq) == 0) {
        ++counters.forgotten;
        Effect* last = out.list.empty() ? nullptr : &out.list.back();
        if (last != nullptr && last->kind == Effect::Kind::Forgotten && last->session == ix &&
            last->seq + last->count == seq) {
            ++last->count;
            return;
        }
        Effect& effect = out.list.emplace_back();
        effect.kind = Effect::Kind::Forgotten;
        effect.session = ix;
        effect.seq = seq;
        effect.count = 1;
        return;
    }
    const Registered entry = session_template < session.templates.size()
                                 ? session.templates[session_template]
                                 : Registered{};
    if (entry.lane == kNone) return refuse(ix, seq, entry.refused, {}, out);
    if (known != Window::kAbsent) {
        if (known != Window::kSettled && tasks[known].has(kPlaceholder))
            return claim(known, entry.lane, body, extras, now, wall, out);
        return;  // A number already taken is the same task.
    }
    if (!stream.window.fits(seq))
        return refuse(ix, seq, wire::Code::Busy, "too many unsettled task numbers", out);
    std::string text;
    const wire::Code code = admit(session, entry.lane, body, text);
    if (code != wire::Code::None) return refuse(ix, seq, code, std::move(text), out);
    const Slot slot = new_task(session.stream, entry.lane, seq);
    ++session.live;
    set_state(tasks[slot], State::Accepting);
    const base::TaskId id = id_of(tasks[slot]);
    const bool park = resent && (recovering || template_of(tasks[slot])->def.at_most_once);
    if (park) tasks[slot].set(kParked);
    if (park && recovering) parked.emplace_back(slot, id);
    accept(slot, body, extras, now, wall, out);
    if (!park || recovering) return;
    const TaskNode* node = tasks.find(slot);
    if (node != nullptr && node->has(kParked) && id_of(*node) == id) unpark(slot, now, out);
}

/// The task is taken: its body kept, its extras noted, its acceptance told; then it is placed.
void Core::accept(Slot slot,
                  const base::Body& body,
                  const wire::Extras* extras,
                  base::Time now,
                  base::WallNanos wall,
                  Effects& out) {
    TaskNode& node = tasks[slot];
    const Stream& stream = streams[stream_of(node)];
    const SessionIx ix = stream.session;
    const Template& t = *template_of(node);
    if (t.def.detached) node.set(kDetached);
    if (extras != nullptr) {
        Side& side = tasks.side_of(node);
        side.extras = *extras;
        // Wall time is read once: a clock that jumps later neither fires nor delays anything.
        if (extras->deadline != 0)
            side.deadline = now + base::Duration{std::clamp<std::int64_t>(
                                      extras->deadline - wall, -1, std::int64_t{kDelayMax} * 12)};
        Session& session = *sessions[ix];
        if (!extras->dependencies.empty() && !add_dependencies(slot, session, *extras, now, out))
            return;
        if (!extras->key.empty() && submit_keyed(slot, session, *extras, body, now, out)) return;
    }
    if (t.def.delay_ns != 0)
        tasks.side_of(node).due = now + base::Duration{static_cast<std::int64_t>(t.def.delay_ns)};
    store_body(node, body);
    std::uint64_t position = 0;
    if (journal != nullptr) {
        JournalRecord record;
        record.fact = JournalRecord::Fact::Accepted;
        record.task = id_of(node);
        record.definition = &t.def;
        record.extras = extras;
        record.body = &body;
        position = journal->append(record);
    }
    tell_accepted(slot, position, out);
    if (position != 0) {
        uncommitted.push_back({position, slot, node.seq, stream_of(node)});
        return;
    }
    if (node.side == kNone && !node.has(kParked)) return make_ready(slot, now);
    place(slot, now, out);
}

void Tables::tell_accepted(Slot slot, std::uint64_t position, Effects& out) {
    const TaskNode& node = tasks[slot];
    const SessionIx ix = streams[stream_of(node)].session;
    ++counters.accepted;
    Effect* last = out.list.empty() ? nullptr : &out.list.back();
    if (last != nullptr && last->kind == Effect::Kind::Accepted && last->session == ix &&
        last->seq + last->count == node.seq && last->position == position) {
        ++last->count;
        return;
    }
    Effect& effect = out.list.emplace_back();
    effect.kind = Effect::Kind::Accepted;
    effect.session = ix;
    effect.seq = node.seq;
    effect.count = 1;
    effect.position = position;
}

/// A task that turned out not to be acceptable: its node goes without an outcome.
void Core::withdraw(Slot slot, wire::Code code, std::string text, Effects& out) {
    TaskNode& node = tasks[slot];
    const std::uint64_t seq = node.seq;
    Stream& stream = streams[stream_of(node)];
    const SessionIx ix = stream.session;
    if (Side* side = tasks.find_side(node); side != nullptr && !side->awaited.empty())
        release_awaited(slot);
    set_state(node, State::Failed);
    node.set(kOwnerGone);
    --sessions[ix]->live;
    stream.window.forget(seq);
    free_task(slot);
    --counters.freed;  // It never counted as accepted either.
    refuse(ix, seq, code, std::move(text), out);
}

/// Ties the task to the results it takes. False: it was refused, or failed with one of them.
bool Core::add_dependencies(Slot slot,
                            Session& session,
                            const wire::Extras& extras,
                            base::Time now,
                            Effects& out) {
    TaskNode& node = tasks[slot];
    Side& side = *tasks.find_side(node);
    const Stream& stream = streams[session.stream];
    session.names_results = true;
    wire::Code code = wire::Code::None;
    Slot failed = kNone;
    if (extras.dependencies.size() > wire::kDependenciesMax) code = wire::Code::TooManyDependencies;
    for (const auto& [argument, seq] : extras.dependencies) {
        if (code != wire::Code::None) break;
        const Slot inner = seq == node.seq ? kNone : slot_in(stream, seq);
        if (inner == kNone) {
            code = wire::Code::UnknownDependency;
        } else if (!is_final(tasks[inner].state)) {
            side.awaited.emplace_back(inner, argument);
            tasks.side_of(tasks[inner]).dependents.push_back(slot);
        } else if (tasks[inner].outcome == wire::Outcome::Succeeded) {
            const base::Body value = body_of(tasks[inner]);
            const bool shared = value.chunks || !value.blob.empty();
            side.dependencies.emplace_back(
                argument, shared ? value : base::Body::of(base::Blob::copy(value.view)));
        } else {
            failed = inner;
        }
    }
    if (code == wire::Code::None && failed == kNone) return true;
    release_awaited(slot);
    if (code == wire::Code::None) {
        tell_accepted(slot, 0, out);
        finish_error(slot,
                     wire::Outcome::Failed,
                     wire::Code::DependencyFailed,
                     "task " + base::to_string(id_of(tasks[failed])) +
                         ", an argument of this one, " +
                         std::string{wire::name_of(tasks[failed].outcome)},
                     wire::Ran::No,
                     now,
                     out);
        return false;
    }
    withdraw(slot, code, "a task named as an argument is not known (any more)", out);
    return false;
}

}  // namespace forkmill::engine
