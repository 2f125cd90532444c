// SPDX-License-Identifier: Apache-2.0
// The invariants of objects.h, each against everything it speaks of; and rows for who looks in.
#include <algorithm>
#include <charconv>

#include "broker/engine/objects.h"
#include "broker/engine/status.h"

namespace forkmill::engine {

namespace {

using wire::ObjectKind;
using wire::ObjectVerb;

std::string at(const Object& object, const char* what) {
    return std::string{wire::name_of(object.kind())} + " " + std::to_string(object.id) +
           (object.name.empty() ? "" : " \"" + object.name + "\"") + ": " + what;
}

struct Sums {
    std::unordered_map<ObjectId, std::uint64_t> refs;
    std::uint64_t bytes = 0;
    std::uint64_t waits = 0;
    std::uint64_t watches = 0;
    std::uint64_t leases = 0;
};

void count_refs(const StoredItem& item, Sums& sums) {
    for (const ObjectId ref : item.refs) ++sums.refs[ref];
}

std::uint64_t bytes_of(const Object& object, Sums& sums) {
    std::uint64_t sum = 0;
    const auto count = [&](const StoredItem& item, std::uint64_t more) {
        sum += cost_of(item) + more;
        count_refs(item, sums);
    };
    if (object.cells)
        for (const StoredItem& item : *object.cells) count(item, 0);
    for (const auto& [key, item] : object.entries) count(item, key.size());
    for (const auto& [token, each] : object.leased) count(each.item, 0);
    return sum;
}

/// (1) and (2), as far as one object shows them.
std::string check_counts(const Objects& all, const Object& object, Sums& sums) {
    Handles open;
    for (const auto& [ix, each] : object.handles) {
        if (each.count == 0 || each.readers > each.count || each.writers > each.count)
            return at(object, "a session's handles are wrong");
        if (!all.knows(ix) || all.members[ix]->objects.count(object.id) == 0)
            return at(object, "a session does not know its handle");
        open.count += each.count;
        open.readers += each.readers;
        open.writers += each.writers;
    }
    if (open.count != object.open.count || open.readers != object.open.readers ||
        open.writers != object.open.writers)
        return at(object, "the sum of its handles is wrong");
    if (object.handles.empty() && object.refs == 0 && !object.has(wire::kOpPersistent))
        return at(object, "nothing keeps it");
    constexpr std::uint64_t kOwn = 1024;
    if (bytes_of(object, sums) + kOwn != object.bytes)
        return at(object, "bytes accounted are not those held");
    sums.bytes += object.bytes;
    if (object.kind() == ObjectKind::Condition) ++sums.refs[object.shape.lock];
    const bool data = object.kind() == ObjectKind::Dict || object.kind() == ObjectKind::List;
    if ((data && object.size() > object.shape.capacity) ||
        (object.kind() == ObjectKind::Array && object.size() != object.shape.capacity) ||
        (object.kind() == ObjectKind::Queue &&
         object.size() > object.shape.capacity + object.undone) ||
        (object.kind() == ObjectKind::Semaphore && object.permits > object.shape.capacity))
        return at(object, "beyond its capacity");
    std::map<SessionIx, std::uint64_t> leases;
    for (const auto& [token, each] : object.leased) {
        ++leases[each.owner.session];
        if (token >= all.token) return at(object, "a lease nobody granted");
    }
    for (const auto& [ix, count] : leases) {
        const auto own = object.leases_of.find(ix);
        if (own == object.leases_of.end() || own->second != count)
            return at(object, "leases of a session are wrong");
        if (!all.knows(ix) || all.members[ix]->holding.count(object.id) == 0)
            return at(object, "an item is leased to a session that does not hold it");
        ++sums.leases;
    }
    if (object.word && !object.gripped &&
        (object.holder || object.lines[kTakers].size != 0 || object.owner_died))
        return at(object, "its word is not gripped, yet we think that we know more than it");
    if (!object.holder) return {};
    const SessionIx owner = object.holder->owner.session;
    if (!all.knows(owner) || all.members[owner]->holding.count(object.id) == 0)
        return at(object, "its holder does not hold it");
    // Tokens of words run ahead of ours until their objects end.
    if ((!object.word && object.holder->token >= all.token) ||
        object.holder->token < all.first_token || object.holder->depth == 0)
        return at(object, "its grant is wrong");
    ++sums.leases;
    return {};
}

/// (3) for the lines of one object.
std::string check_lines(const Objects& all, const Object& object, Sums& sums) {
    for (std::size_t name = 0; name < kLines; ++name) {
        const WaitLine& line = object.lines[name];
        std::uint32_t length = 0;
        WaitIx before = kNoWait;
        for (WaitIx w = line.head; w != kNoWait; w = all.waits[w].next) {
            const Wait& wait = all.waits[w];
            if (!wait.used || wait.object != object.id || wait.line != name || wait.prev != before)
                return at(object, "a wait stands in a line that is not its own");
            if (++length > line.size) return at(object, "a line is longer than its count");
            if (wait.verb == ObjectVerb::Put) {
                sums.bytes += cost_of(wait.item);
                count_refs(wait.item, sums);
            }
            before = w;
        }
        if (length != line.size || line.tail != before) return at(object, "a line is torn");
        sums.waits += length;
    }
    sums.watches += object.watches.size();
    return {};
}

/// (5): the first of the line who could be given something, or kNoWait.
WaitIx able(const Objects& all, const WaitLine& line, bool with_values) {
    for (WaitIx w = line.head; w != kNoWait; w = all.waits[w].next) {
        const SessionIx ix = all.waits[w].session;
        if (with_values ? all.deliverable(ix) : all.reachable(ix)) return w;
    }
    return kNoWait;
}

std::string check_forgotten(const Objects& all, const Object& object) {
    const WaitLine& takers = object.lines[kTakers];
    switch (object.kind()) {
        case ObjectKind::Queue: {
            const WaitLine& putters = object.lines[kPutters];
            if (!object.cells->empty() && able(all, takers, true) != kNoWait)
                return at(object, "an item lies there and a getter waits");
            if (putters.size > 0 &&
                (object.shut || !all.is_full(object, cost_of(all.waits[putters.head].item))))
                return at(object, "there is room and a putter waits");
            if (object.undone == 0 && object.lines[kJoiners].size > 0)
                return at(object, "all is done and somebody waits for that");
            if (object.shut && object.cells->empty() && object.leased.empty() && takers.size > 0)
                return at(object, "it is at its end and a getter waits");
            return {};
        }
        case ObjectKind::Lock:
            if (!object.holder && able(all, takers, false) != kNoWait)
                return at(object, "it is free and somebody waits");
            return {};
        case ObjectKind::Semaphore: {
            const WaitIx first = able(all, takers, false);
            if (first != kNoWait && all.waits[first].count <= object.permits)
                return at(object, "there are permits and somebody waits");
            return {};
        }
        case ObjectKind::Event:
            return object.is_set && takers.size > 0 ? at(object, "it is set and somebody waits")
                                                    : std::string{};
        case ObjectKind::Barrier:
            if (takers.size > 0 && object.is_set) return at(object, "it is broken, yet one waits");
            if (!object.holder && takers.size >= object.shape.capacity)
                return at(object, "all parties are there and wait");
            return {};
        default:
            return {};
    }
}

std::string check_member(const Objects& all, SessionIx ix, Sums& sums) {
    const Member& member = *all.members[ix];
    const std::string who = "session " + std::to_string(ix) + ": ";
    for (const ObjectId id : member.objects) {
        const auto found = all.by_id.find(id);
        if (found == all.by_id.end() || found->second->handles.count(ix) == 0)
            return who + "it has a handle that the object does not know";
    }
    for (const ObjectId id : member.holding)
        if (all.by_id.count(id) == 0) return who + "it holds what is not there";
    std::uint32_t length = 0;
    for (WaitIx w = member.waits.head; w != kNoWait; w = all.waits[w].session_next) {
        if (!all.waits[w].used || all.waits[w].session != ix)
            return who + "a wait in its list is another's";
        if (++length > member.waits.size) return who + "it has more waits than it counts";
    }
    if (length != member.waits.size) return who + "its count of waits is wrong";
    if (length + member.deferred.size() > all.config.object_waits_per_session_max)
        return who + "too many operations wait";
    if (member.turn_bytes > 0 && !member.turn_listed)
        return who + "no turn will end what it was told in this one";
    sums.leases -= std::min<std::uint64_t>(sums.leases, member.holding.size());
    return {};
}

}  // namespace

std::string Objects::check() const {
    Sums sums;
    for (const auto& [id, object] : by_id) {
        for (std::string broken : {check_counts(*this, *object, sums),
                                   check_lines(*this, *object, sums),
                                   check_forgotten(*this, *object)})
            if (!broken.empty()) return broken;
    }
    for (const auto& [id, object] : by_id) {
        const auto refs = sums.refs.find(id);
        if (object->refs != (refs == sums.refs.end() ? 0 : refs->second))
            return at(*object, "the count of what names it is wrong");
        if (!object->name.empty() &&
            (by_name.count(object->name) == 0 || by_name.find(object->name)->second != id))
            return at(*object, "its name leads elsewhere");
    }
    std::uint64_t deferred = 0;
    std::uint64_t watched = 0;
    bool any_deferred = false;
    for (SessionIx ix = 0; ix < members.size(); ++ix) {
        if (members[ix] == nullptr) continue;
        if (std::string broken = check_member(*this, ix, sums); !broken.empty()) return broken;
        deferred += members[ix]->deferred.size();
        any_deferred = any_deferred || !members[ix]->deferred.empty();
        watched += members[ix]->watches.size();
    }
    if (sums.leases != 0) return "something is held by a session that does not know it";
    if (sums.waits + deferred != parked) return "the number of waiting operations is wrong";
    if (watched != watching || sums.watches != watching) return "the number of watches is wrong";
    if (!any_deferred && sums.bytes != bytes) return "bytes of objects are not those held";
    if (by_id.size() > config.objects_max || parked > config.object_waits_max ||
        bytes > config.object_memory() + config.payload_max)
        return "objects are beyond their bounds";
    return {};
}

ObjectRow Objects::row_of(const Object& object) const {
    ObjectRow row;
    row.id = object.id;
    row.name = object.name;
    row.kind = wire::name_of(object.kind());
    row.type = object.type;
    row.capacity = object.shape.capacity;
    row.size = object.kind() == ObjectKind::Semaphore ? object.permits : object.size();
    row.bytes = object.bytes;
    row.handles = object.open.count;
    for (const WaitLine& line : object.lines) row.waiting += line.size;
    row.persistent = object.has(wire::kOpPersistent);
    if (const std::optional<Holder> holder = holder_of(object)) {
        row.holder_session = holder->owner.session;
        row.token = holder->token;
    }
    return row;
}

std::vector<ObjectRow> Objects::rows(std::string_view prefix,
                                     std::size_t most,
                                     ObjectKind kind) const {
    std::vector<const Object*> found;
    for (const auto& [id, object] : by_id)
        if (std::string_view{object->name}.substr(0, prefix.size()) == prefix &&
            (kind == ObjectKind{} || kind == object->kind()))
            found.push_back(object.get());
    std::sort(found.begin(), found.end(), [](const Object* a, const Object* b) {
        return a->name != b->name ? a->name < b->name : a->id < b->id;
    });
    if (found.size() > most) found.resize(most);
    std::vector<ObjectRow> rows;
    for (const Object* object : found) rows.push_back(row_of(*object));
    return rows;
}

bool Objects::find_row(std::string_view which, ObjectRow& row) const {
    ObjectId id = 0;
    if (const auto named = by_name.find(which); named != by_name.end()) {
        id = named->second;
    } else {
        const auto [end, error] = std::from_chars(which.data(), which.data() + which.size(), id);
        if (error != std::errc{} || end != which.data() + which.size()) return false;
    }
    const auto found = by_id.find(id);
    if (found == by_id.end()) return false;
    row = row_of(*found->second);
    return true;
}

}  // namespace forkmill::engine
