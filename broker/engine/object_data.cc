// SPDX-License-Identifier: Apache-2.0
// Dicts, lists and arrays: values that are kept, read and replaced whole; and what keeping costs.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "broker/engine/objects.h"

namespace forkmill::engine {

namespace {

using wire::CellKind;
using wire::Code;
using wire::ObjectKind;

constexpr std::size_t kCellBytes = 8;

template <class T>
T sum_of(base::ByteView a, base::ByteView b) {
    T x;
    T y;
    std::memcpy(&x, a.data(), sizeof x);
    std::memcpy(&y, b.data(), sizeof y);
    return x + y;
}

base::Blob added(CellKind cell, base::ByteView a, base::ByteView b) {
    base::Blob out = base::Blob::allocate(kCellBytes);
    if (cell == CellKind::F64) {
        const double sum = sum_of<double>(a, b);
        std::memcpy(out.mutable_data(), &sum, sizeof sum);
    } else {
        // Signed and unsigned numbers wrap alike.
        const std::uint64_t sum = sum_of<std::uint64_t>(a, b);
        std::memcpy(out.mutable_data(), &sum, sizeof sum);
    }
    return out;
}

/// A cell of numbers takes eight bytes and nothing else.
bool fits_cell(const Object& array, const wire::ObjectItem& item) {
    return array.shape.cell == CellKind::Opaque ||
           (item.body.size == kCellBytes && !item.body.body.chunks);
}

std::uint64_t bytes_from(const Object& object, std::uint64_t at, std::uint64_t count) {
    std::uint64_t size = 0;
    for (std::uint64_t i = at; i < at + count; ++i) size += (*object.cells)[i].body.size();
    return size;
}

bool same_bytes(const base::Body& body, std::string_view expected) {
    if (body.size() != expected.size()) return false;
    if (!body.chunks) return base::text_of(body.view) == expected;
    std::size_t at = 0;
    for (const base::Blob& part : *body.chunks) {
        if (base::text_of(part.view()) != expected.substr(at, part.size())) return false;
        at += part.size();
    }
    return true;
}

}  // namespace

StoredItem Objects::keep(const wire::ObjectItem& item) {
    StoredItem kept;
    const base::Body& body = item.body.body;
    // Small values are copied: a few bytes must not pin the message they came in.
    if (body.chunks || (!body.blob.empty() && body.view.size() >= wire::kInlineBodyMax)) {
        kept.body = body;
    } else {
        kept.body = base::Body::of(base::Blob::copy(body.view));
    }
    kept.refs = item.refs;
    return kept;
}

/// The item as an answer to `ix` carries it, with a handle more of each object it names.
wire::ObjectItem Objects::show(std::string key, const StoredItem& item, SessionIx ix) {
    for (const ObjectId ref : item.refs) {
        Object* named = find(ref);
        if (named == nullptr) continue;
        ++named->open.count;
        ++named->handles[ix].count;
        member(ix).objects.insert(ref);
    }
    return {std::move(key), {item.body, 0, item.body.size()}, item.refs};
}

void Objects::charge(Object& object, std::uint64_t more, std::uint64_t less) {
    object.bytes += more - less;
    bytes += more - less;
}

/// It is not kept any more.
void Objects::drop(Object& object, StoredItem& item, std::uint64_t more_cost) {
    charge(object, 0, cost_of(item) + more_cost);
    for (const ObjectId ref : item.refs) drop_ref(ref);
}

void Objects::add_ref(ObjectId id) {
    if (Object* named = find(id); named != nullptr) ++named->refs;
}

void Objects::drop_ref(ObjectId id) {
    Object* named = find(id);
    if (named == nullptr) return;
    --named->refs;
    check_life(*named);
}

bool Objects::room_for(std::uint64_t more) const {
    return more <= memory_free && bytes + more <= config.object_memory();
}

/// REQUIRES: there is none. Which bound has it not, in words.
std::string Objects::no_room(std::uint64_t more) const {
    const bool own = bytes + more > config.object_memory();
    return "objects hold " + std::to_string(bytes) + " bytes, and for " + std::to_string(more) +
           " more there is no room in limits." + (own ? "object_memory" : "memory");
}

/// The first content of a new object.
Code Objects::fill(Object& object, const std::vector<wire::ObjectItem>& items) {
    const ObjectKind kind = object.kind();
    const bool cells =
        kind == ObjectKind::Queue || kind == ObjectKind::List || kind == ObjectKind::Array;
    if (cells) object.cells.emplace();
    if (!items.empty() && (kind == ObjectKind::Queue || (!cells && kind != ObjectKind::Dict)))
        return Code::InvalidRange;
    if (items.size() > object.shape.capacity && !items.empty()) return Code::InvalidRange;
    std::uint64_t cost = 0;
    for (const wire::ObjectItem& item : items) {
        if (!fits_cell(object, item)) return Code::TypeMismatch;
        cost += cost_of(item) + item.key.size();
    }
    if (!room_for(cost) || (object.shape.bytes != 0 && cost > object.shape.bytes))
        return Code::ObjectLimit;
    if (kind == ObjectKind::Array) {
        StoredItem blank;
        blank.version = object.version;
        blank.body = base::Body::of(base::Blob{});
        if (object.shape.cell != CellKind::Opaque) {
            const std::array<std::byte, kCellBytes> zero{};
            blank.body = base::Body::of(base::Blob::copy(zero));
        }
        object.cells->resize(object.shape.capacity, blank);
        charge(object, object.shape.capacity * cost_of(blank), 0);
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
        StoredItem item = keep(items[i]);
        item.version = object.version;
        for (const ObjectId ref : item.refs) add_ref(ref);
        if (kind == ObjectKind::Dict) {
            StoredItem& slot = object.entries[items[i].key];
            if (slot.version != 0) drop(object, slot, items[i].key.size());
            charge(object, cost_of(item) + items[i].key.size(), 0);
            slot = std::move(item);
        } else if (kind == ObjectKind::List) {
            charge(object, cost_of(item), 0);
            object.cells->push_back(std::move(item));
        } else {
            charge(object, cost_of(item), cost_of((*object.cells)[i]));
            (*object.cells)[i] = std::move(item);
        }
    }
    return Code::None;
}

/// False: it was refused with what is there now.
bool Objects::version_agrees(const Call& call) {
    const wire::ObjectOp& op = call.op;
    if (!op.has(wire::kOpIfVersion)) return true;
    Object& object = *call.object;
    std::uint64_t present = object.version;
    const StoredItem* one = nullptr;
    if (object.kind() == ObjectKind::Dict && !op.has(wire::kOpAll) && op.items.size() == 1) {
        const auto entry = object.entries.find(op.items.front().key);
        one = entry == object.entries.end() ? nullptr : &entry->second;
        present = one == nullptr ? 0 : one->version;
    } else if (object.kind() == ObjectKind::Array) {
        std::uint64_t at = 0;
        const bool to_the_end = op.verb == wire::ObjectVerb::Read && op.count == 0;
        const std::uint64_t span = std::max<std::uint64_t>(call.count(), op.items.size());
        if (span == 1 && !to_the_end) {
            if (!place_of(call, 1, at)) return true;  // The index is refused, not the version.
            one = &(*object.cells)[at];
            present = one->version;
        }
    }
    if (present == op.version) return true;
    wire::ObjectReply reply;
    reply.code = Code::ValueChanged;
    reply.version = present;
    if (one != nullptr) reply.items.push_back(show({}, *one, call.ix));
    say(call, std::move(reply));
    return false;
}

/// False: it was refused, for an answer is no larger than a payload. One item always goes; many
/// small ones are more than their bytes.
bool Objects::may_show(const Call& call, std::uint64_t size, std::uint64_t items) {
    if (items == 1 || size + items * kItemCost <= config.payload_max) return true;
    fail(call, Code::ResultTooBig, "it is too much for one answer: ask for it in parts");
    return false;
}

/// False: it was refused, because neither `size` items nor `more` bytes have room.
bool Objects::may_write(const Call& call, std::uint64_t size, std::uint64_t more) {
    const Object& object = *call.object;
    const bool fits = size <= object.shape.capacity &&
                      (object.shape.bytes == 0 || object.bytes + more <= object.shape.bytes);
    if (fits && room_for(more)) return true;
    fail(call,
         Code::ObjectLimit,
         fits ? no_room(more) : "the " + std::string{wire::name_of(object.kind())} + " is full");
    return false;
}

/// Where `index` is; false: `count` cells from there on are not all there.
bool Objects::place_of(const Call& call, std::uint64_t count, std::uint64_t& at) {
    const std::uint64_t size = call.object->cells->size();
    const std::int64_t index = call.op.index;
    if (index == wire::kListEnd) {
        at = size;
    } else if (index < 0) {
        const std::uint64_t back = std::uint64_t{0} - static_cast<std::uint64_t>(index);
        if (back > size) return false;
        at = size - back;
    } else {
        at = static_cast<std::uint64_t>(index);
    }
    return at <= size && count <= size - at;
}

void Objects::read(Call& call) {
    const ObjectKind kind = call.object->kind();
    if (kind == ObjectKind::Dict) return read_dict(call);
    if (kind == ObjectKind::List || kind == ObjectKind::Array) return read_cells(call);
    return fail(call, Code::TypeMismatch, "nothing that is read");
}

void Objects::read_dict(Call& call) {
    Object& dict = *call.object;
    const wire::ObjectOp& op = call.op;
    if (!version_agrees(call)) return;
    std::vector<std::map<std::string, StoredItem>::iterator> found;
    if (op.has(wire::kOpAll)) {
        const std::uint64_t from = op.index < 0 ? 0 : static_cast<std::uint64_t>(op.index);
        const std::uint64_t most = op.count == 0 ? UINT64_MAX : op.count;
        auto entry = dict.entries.begin();
        std::advance(entry, std::min<std::uint64_t>(from, dict.entries.size()));
        for (; entry != dict.entries.end() && found.size() < most; ++entry) found.push_back(entry);
    } else {
        for (const wire::ObjectItem& item : op.items) {
            const auto entry = dict.entries.find(item.key);
            if (entry != dict.entries.end()) found.push_back(entry);
        }
        if (op.items.size() == 1 && found.empty()) return fail(call, Code::NotFound);
    }
    const bool keys_only = op.has(wire::kOpKeysOnly);
    std::uint64_t size = 0;
    for (const auto& entry : found)
        size += entry->first.size() + (keys_only ? 0 : entry->second.body.size());
    if (!may_show(call, size, keys_only ? 0 : found.size())) return;
    wire::ObjectReply reply;
    reply.value = static_cast<std::int64_t>(dict.entries.size());
    reply.version =
        found.size() == 1 && op.items.size() == 1 ? found.front()->second.version : dict.version;
    for (const auto& entry : found) {
        if (keys_only) {
            reply.items.push_back({entry->first, {}, {}});
        } else {
            reply.items.push_back(show(entry->first, entry->second, call.ix));
        }
    }
    say(call, std::move(reply));
}

void Objects::read_cells(Call& call) {
    Object& object = *call.object;
    std::uint64_t at = 0;
    std::uint64_t count = call.op.count;
    // First the version: what is not as the caller read it may be too short for what it asks.
    if (!version_agrees(call)) return;
    if (!place_of(call, count, at))
        return fail(call, Code::InvalidRange, "the index is out of range");
    if (count == 0) count = object.cells->size() - at;
    if (!may_show(call, bytes_from(object, at, count), count)) return;
    wire::ObjectReply reply;
    reply.value = static_cast<std::int64_t>(object.cells->size());
    const bool one = object.kind() == ObjectKind::Array && count == 1;
    reply.version = one ? (*object.cells)[at].version : object.version;
    for (std::uint64_t i = at; i < at + count; ++i)
        reply.items.push_back(show({}, (*object.cells)[i], call.ix));
    say(call, std::move(reply));
}

void Objects::write(Call& call) {
    switch (call.object->kind()) {
        case ObjectKind::Dict:
            return write_dict(call);
        case ObjectKind::List:
            return write_list(call);
        case ObjectKind::Array:
            return write_array(call);
        default:
            return fail(call, Code::TypeMismatch, "nothing that is written");
    }
}

void Objects::write_dict(Call& call) {
    Object& dict = *call.object;
    const wire::ObjectOp& op = call.op;
    if (!version_agrees(call)) return;
    std::uint64_t more = 0;
    std::uint64_t size = dict.entries.size();
    std::uint64_t shown = 0;
    std::uint64_t there = 0;
    const bool shows = op.has(wire::kOpOld) || op.has(wire::kOpIfAbsent);
    for (const wire::ObjectItem& item : op.items) {
        more += cost_of(item) + item.key.size();
        const auto entry = dict.entries.find(item.key);
        if (entry == dict.entries.end()) {
            ++size;
        } else if (shows) {
            shown += item.key.size() + entry->second.body.size();
            ++there;
        }
    }
    if (!may_write(call, size, more) || !may_show(call, shown, there)) return;
    wire::ObjectReply reply;
    ++dict.version;
    for (const wire::ObjectItem& item : op.items) {
        auto entry = dict.entries.find(item.key);
        const bool was = entry != dict.entries.end();
        const bool leave = was && op.has(wire::kOpIfAbsent);
        if (leave || (was && op.has(wire::kOpOld)))
            reply.items.push_back(show(item.key, entry->second, call.ix));
        if (leave) continue;
        StoredItem kept = keep(item);
        kept.version = dict.version;
        for (const ObjectId ref : kept.refs) add_ref(ref);
        if (was) drop(dict, entry->second, item.key.size());
        charge(dict, cost_of(kept) + item.key.size(), 0);
        dict.entries[item.key] = std::move(kept);
        changed(dict, &item.key);
    }
    reply.value = static_cast<std::int64_t>(dict.entries.size());
    reply.version = dict.version;
    say(call, std::move(reply));
}

void Objects::erase(Call& call) {
    Object& dict = *call.object;
    const wire::ObjectOp& op = call.op;
    if (dict.kind() != ObjectKind::Dict) return fail(call, Code::TypeMismatch, "no dict");
    if (!version_agrees(call)) return;
    std::vector<std::string> keys;
    std::uint64_t shown = 0;
    const auto take = [&](const auto& entry) {
        keys.push_back(entry.first);
        if (op.has(wire::kOpOld)) shown += entry.first.size() + entry.second.body.size();
    };
    if (op.has(wire::kOpAll)) {
        for (const auto& entry : dict.entries) take(entry);
    } else {
        for (const wire::ObjectItem& item : op.items)
            if (const auto entry = dict.entries.find(item.key); entry != dict.entries.end())
                take(*entry);
        if (keys.empty()) return fail(call, Code::NotFound);
    }
    if (!may_show(call, shown, op.has(wire::kOpOld) ? keys.size() : 0)) return;
    wire::ObjectReply reply;
    if (!keys.empty()) ++dict.version;
    for (const std::string& key : keys) {
        const auto entry = dict.entries.find(key);
        if (entry == dict.entries.end()) continue;  // Named twice.
        if (op.has(wire::kOpOld)) reply.items.push_back(show(key, entry->second, call.ix));
        drop(dict, entry->second, key.size());
        dict.entries.erase(entry);
        changed(dict, &key);
    }
    reply.value = static_cast<std::int64_t>(dict.entries.size());
    reply.version = dict.version;
    say(call, std::move(reply));
}

void Objects::write_list(Call& call) {
    Object& list = *call.object;
    const wire::ObjectOp& op = call.op;
    const std::uint64_t count = op.has(wire::kOpAll) ? list.cells->size() : op.count;
    std::uint64_t at = 0;
    if (!version_agrees(call)) return;
    if (!place_of(call, count, at))
        return fail(call, Code::InvalidRange, "the index is out of range");
    std::uint64_t more = 0;
    for (const wire::ObjectItem& item : op.items) more += cost_of(item);
    if (!may_write(call, list.cells->size() - count + op.items.size(), more)) return;
    if (op.has(wire::kOpOld) && !may_show(call, bytes_from(list, at, count), count)) return;
    wire::ObjectReply reply;
    ++list.version;
    const auto first = list.cells->begin() + static_cast<std::ptrdiff_t>(at);
    const auto last = first + static_cast<std::ptrdiff_t>(count);
    std::vector<StoredItem> fresh;
    for (const wire::ObjectItem& item : op.items) {
        StoredItem& kept = fresh.emplace_back(keep(item));
        kept.version = list.version;
        for (const ObjectId ref : kept.refs) add_ref(ref);
        charge(list, cost_of(kept), 0);
    }
    for (auto item = first; item != last; ++item) {
        if (op.has(wire::kOpOld)) reply.items.push_back(show({}, *item, call.ix));
        drop(list, *item, 0);
    }
    const auto then = list.cells->erase(first, last);
    list.cells->insert(
        then, std::make_move_iterator(fresh.begin()), std::make_move_iterator(fresh.end()));
    changed(list, nullptr);
    reply.value = static_cast<std::int64_t>(list.cells->size());
    reply.version = list.version;
    say(call, std::move(reply));
}

/// What was there goes. The version is the array's.
void Objects::set_cell(Object& array, std::uint64_t at, const wire::ObjectItem& item) {
    StoredItem& cell = (*array.cells)[at];
    StoredItem kept = keep(item);
    kept.version = array.version;
    for (const ObjectId ref : kept.refs) add_ref(ref);
    drop(array, cell, 0);
    charge(array, cost_of(kept), 0);
    cell = std::move(kept);
    const std::string key = std::to_string(at);
    changed(array, &key);
}

void Objects::write_array(Call& call) {
    Object& array = *call.object;
    const wire::ObjectOp& op = call.op;
    std::uint64_t at = 0;
    if (!place_of(call, op.items.size(), at))
        return fail(call, Code::InvalidRange, "the index is out of range");
    std::uint64_t more = 0;
    for (const wire::ObjectItem& item : op.items) {
        if (!fits_cell(array, item))
            return fail(call, Code::TypeMismatch, "a number's cell takes eight bytes");
        more += cost_of(item) - kItemCost;  // The cell is there already.
    }
    if (!version_agrees(call) || !may_write(call, array.cells->size(), more)) return;
    const std::uint64_t replaced = op.has(wire::kOpOld) ? op.items.size() : 0;
    if (!may_show(call, bytes_from(array, at, replaced), replaced)) return;
    wire::ObjectReply reply;
    ++array.version;
    for (std::size_t i = 0; i < op.items.size(); ++i) {
        if (op.has(wire::kOpOld)) reply.items.push_back(show({}, (*array.cells)[at + i], call.ix));
        set_cell(array, at + i, op.items[i]);
    }
    reply.value = static_cast<std::int64_t>(array.cells->size());
    reply.version = array.version;
    say(call, std::move(reply));
}

void Objects::swap(Call& call) {
    Object& array = *call.object;
    const wire::ObjectOp& op = call.op;
    std::uint64_t at = 0;
    if (array.kind() != ObjectKind::Array) return fail(call, Code::TypeMismatch, "no array");
    if (op.items.size() != 1) return fail(call, Code::InvalidRange, "swap takes one item");
    if (!place_of(call, 1, at)) return fail(call, Code::InvalidRange, "the index is out of range");
    if (!fits_cell(array, op.items.front()))
        return fail(call, Code::TypeMismatch, "a number's cell takes eight bytes");
    const std::uint64_t more = op.items.front().body.size;
    const StoredItem& cell = (*array.cells)[at];
    wire::ObjectReply reply;
    reply.version = cell.version;
    reply.items.push_back(show({}, cell, call.ix));
    if (op.has(wire::kOpIfEqual) && !same_bytes(cell.body, op.items.front().key)) {
        reply.code = Code::ValueChanged;
        return say(call, std::move(reply));
    }
    if (!may_write(call, array.cells->size(), more)) return;
    reply.version = ++array.version;
    set_cell(array, at, op.items.front());
    say(call, std::move(reply));
}

void Objects::add(Call& call) {
    Object& array = *call.object;
    const wire::ObjectOp& op = call.op;
    std::uint64_t at = 0;
    if (array.kind() != ObjectKind::Array || array.shape.cell == CellKind::Opaque)
        return fail(call, Code::TypeMismatch, "no array of numbers");
    if (op.items.size() != 1 || !fits_cell(array, op.items.front()))
        return fail(call, Code::TypeMismatch, "a number's cell takes eight bytes");
    if (!place_of(call, 1, at)) return fail(call, Code::InvalidRange, "the index is out of range");
    StoredItem& cell = (*array.cells)[at];
    wire::ObjectReply reply;
    reply.items.push_back(show({}, cell, call.ix));
    cell.body =
        base::Body::of(added(array.shape.cell, cell.body.view, op.items.front().body.body.view));
    cell.version = reply.version = ++array.version;
    const std::string key = std::to_string(at);
    changed(array, &key);
    say(call, std::move(reply));
}

}  // namespace forkmill::engine
