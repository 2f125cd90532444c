// SPDX-License-Identifier: Apache-2.0
// Changes told to those who watch, once per turn of the loop: the newest state wins.
#include <utility>

#include "broker/engine/objects.h"

namespace forkmill::engine {

namespace {

using wire::Code;
using wire::ObjectChange;
using wire::ObjectKind;

}  // namespace

void Objects::watch(Call& call) {
    Object& object = *call.object;
    const wire::ObjectOp& op = call.op;
    Member& asker = member(call.ix);
    WatchKey key{op.has(wire::kOpAll) || object.kind() == ObjectKind::Event, {}};
    std::uint64_t at = 0;
    if (object.kind() == ObjectKind::Dict && !key.first) {
        if (op.items.size() != 1) return fail(call, Code::InvalidRange, "one key is watched");
        key.second = op.items.front().key;
    } else if (object.kind() == ObjectKind::Array && !key.first) {
        if (!place_of(call, 1, at))
            return fail(call, Code::InvalidRange, "the index is out of range");
        key.second = std::to_string(at);
    } else if (!key.first ||
               (object.kind() != ObjectKind::Dict && object.kind() != ObjectKind::Array &&
                object.kind() != ObjectKind::List && object.kind() != ObjectKind::Event)) {
        return fail(call, Code::TypeMismatch, "nothing that is watched");
    }
    if (asker.watches.size() >= config.object_waits_per_session_max)
        return fail(call,
                    Code::ObjectLimit,
                    "it watches as much as it may, by limits.object_waits_per_session");
    if (watching >= config.object_waits_max)
        return fail(
            call, Code::ObjectLimit, "as much is watched as may be, by limits.object_waits");
    std::uint32_t ix = static_cast<std::uint32_t>(watches.size());
    if (free_watches.empty()) {
        watches.emplace_back();
    } else {
        ix = free_watches.back();
        free_watches.pop_back();
    }
    watches[ix] = Watch{true,
                        false,
                        watches[ix].listed,
                        call.ix,
                        op.op,
                        object.id,
                        key,
                        static_cast<std::int64_t>(at)};
    object.watches.emplace(std::move(key), ix);
    asker.watches.insert(ix);
    ++watching;
    wire::ObjectReply reply;
    reply.version = object.version;
    say(call, std::move(reply));
}

void Objects::unwatch(Call& call) {
    for (const std::uint32_t ix : member(call.ix).watches) {
        if (watches[ix].op != call.op.token || watches[ix].object != call.object->id) continue;
        drop_watch(ix);
        return say(call, {});
    }
    fail(call, Code::NotFound, "there is no such watch");
}

void Objects::drop_watch(std::uint32_t ix) {
    Watch& watch = watches[ix];
    find(watch.object)->watches.erase({watch.key, ix});
    member(watch.session).watches.erase(ix);
    const bool listed = watch.listed;
    watch = Watch{};
    watch.listed = listed;
    free_watches.push_back(ix);
    --watching;
}

/// What is at `key`, or anything at all, is not what it was.
void Objects::changed(Object& object, const std::string* key) {
    if (object.watches.empty()) return;
    const auto mark_all = [&](const WatchKey& which) {
        for (auto watch = object.watches.lower_bound({which, 0});
             watch != object.watches.end() && watch->first == which;
             ++watch)
            mark(watch->second);
    };
    mark_all({true, {}});
    if (key != nullptr) mark_all({false, *key});
}

void Objects::mark(std::uint32_t ix) {
    watches[ix].dirty = true;
    if (!std::exchange(watches[ix].listed, true)) dirty.push_back(ix);
}

/// REQUIRES: its object is there. Changed stands for what a look at the object shows.
void Objects::tell(std::uint32_t ix, ObjectChange change, Step& step) {
    const Watch& watch = watches[ix];
    Object& object = *find(watch.object);
    wire::ObjectEvent event;
    event.watch = watch.op;
    event.change = change;
    event.version = object.version;
    if (change == ObjectChange::Changed && !watch.key.first) {
        const StoredItem* item = nullptr;
        if (object.kind() == ObjectKind::Array) {
            item = &(*object.cells)[static_cast<std::size_t>(watch.index)];
        } else if (const auto entry = object.entries.find(watch.key.second);
                   entry != object.entries.end()) {
            item = &entry->second;
        }
        event.change = item == nullptr ? ObjectChange::Erased : ObjectChange::Written;
        if (item != nullptr) {
            event.version = item->version;
            event.items.push_back(show(watch.key.second, *item, watch.session));
            count_turn(watch.session, item->body.size());
        }
    }
    step.out.object_events.push_back(std::move(event));
    Effect& effect = step.out.list.emplace_back();
    effect.kind = Effect::Kind::ObjectEvent;
    effect.session = watch.session;
    effect.extra = static_cast<std::uint32_t>(step.out.object_events.size());
    effect.position = object.name.empty() ? 0 : position;
}

/// The end of a turn of the loop: whoever was answered enough in it may have more.
void Objects::turn_over(Step step) {
    hurried = false;
    for (const SessionIx ix : std::exchange(turn, {})) {
        if (!knows(ix)) continue;
        members[ix]->turn_listed = false;
        members[ix]->turn_bytes = 0;
        if (members[ix]->passed && deliverable(ix)) resume(ix, step);
    }
    std::vector<std::uint32_t> later;
    for (const std::uint32_t ix : std::exchange(dirty, {})) {
        Watch& watch = watches[ix];
        watch.listed = false;
        if (!watch.dirty) continue;  // It ended meanwhile.
        if (!deliverable(watch.session)) {
            watch.listed = true;
            later.push_back(ix);
            members[watch.session]->passed = true;
            continue;
        }
        watch.dirty = false;
        tell(ix, ObjectChange::Changed, step);
    }
    dirty.insert(dirty.end(), later.begin(), later.end());
    settle(step);
    for (const SessionIx ix : turn)
        hurried =
            hurried || (members[ix]->passed && members[ix]->connected && members[ix]->writable);
}

}  // namespace forkmill::engine
