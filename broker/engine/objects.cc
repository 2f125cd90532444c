// SPDX-License-Identifier: Apache-2.0
// Operations in, answers out, and the life of objects.
#include "broker/engine/objects.h"

#include <algorithm>
#include <utility>

#include "core/wire/names.h"

namespace forkmill::engine {

namespace {

using wire::Code;
using wire::ObjectKind;
using wire::ObjectVerb;

constexpr std::uint64_t kObjectCost = 1024;
constexpr int kCounterBits = 40;
constexpr std::uint64_t kAnswerCost = 64;

/// Those whose answers carry values, which a client with a full window cannot take.
bool answers_with_values(const wire::ObjectOp& op) {
    switch (op.verb) {
        case ObjectVerb::Get:
        case ObjectVerb::Read:
        case ObjectVerb::Swap:
        case ObjectVerb::Add:
            return true;
        case ObjectVerb::Write:
        case ObjectVerb::Erase:
            return op.has(wire::kOpOld) || op.has(wire::kOpIfAbsent) || op.has(wire::kOpIfVersion);
        default:
            return false;
    }
}

bool changes(ObjectVerb verb) {
    return verb != ObjectVerb::Info && verb != ObjectVerb::Read && verb != ObjectVerb::Peek &&
           verb != ObjectVerb::Watch && verb != ObjectVerb::Unwatch;
}

bool is_counted(ObjectKind kind) {
    return kind == ObjectKind::Queue || kind == ObjectKind::Dict || kind == ObjectKind::List ||
           kind == ObjectKind::Array || kind == ObjectKind::Semaphore ||
           kind == ObjectKind::Barrier;
}

bool types_agree(const std::string& a, const std::string& b) {
    return a.empty() || b.empty() || a == b;
}

}  // namespace

Objects::Objects(const Config& settings, std::uint64_t incarnation)
    : config(settings), first_token(incarnation << kCounterBits | 1), token(first_token) {}

Object* Objects::find(ObjectId id) {
    const auto found = by_id.find(id);
    return found == by_id.end() ? nullptr : found->second.get();
}

Member& Objects::member(SessionIx ix) {
    if (members.size() <= ix) members.resize(ix + 1);
    if (members[ix] == nullptr) members[ix] = std::make_unique<Member>();
    return *members[ix];
}

void Objects::send(SessionIx ix, wire::ObjectReply reply, Step& step, const Object* object) {
    std::uint64_t size = kAnswerCost;
    for (const wire::ObjectItem& item : reply.items)
        size += kItemCost + item.key.size() + item.body.size;
    count_turn(ix, size);
    step.out.object_replies.push_back(std::move(reply));
    Effect& effect = step.out.list.emplace_back();
    effect.kind = Effect::Kind::ObjectReply;
    effect.session = ix;
    effect.extra = static_cast<std::uint32_t>(step.out.object_replies.size());
    effect.position = object != nullptr && !object->name.empty() ? position : 0;
}

/// So much is on its way to the session in this turn of the loop; the next one begins anew.
void Objects::count_turn(SessionIx ix, std::uint64_t size) {
    Member& to = member(ix);
    if (!std::exchange(to.turn_listed, true)) turn.push_back(ix);
    to.turn_bytes += size;
}

void Objects::say(const Call& call, wire::ObjectReply reply) {
    reply.op = call.op.op;
    send(call.ix, std::move(reply), call.step, call.object);
}

void Objects::fail(const Call& call, Code code, std::string text) {
    refuse(call.ix, call.op, code, std::move(text), call.step);
}

void Objects::refuse(SessionIx ix,
                     const wire::ObjectOp& op,
                     Code code,
                     std::string text,
                     Step& step) {
    wire::ObjectReply reply;
    reply.op = op.op;
    reply.code = code;
    reply.text = std::move(text);
    send(ix, std::move(reply), step);
}

void Objects::operate(SessionIx ix,
                      bool admin,
                      std::uint64_t free,
                      const wire::ObjectOp& op,
                      Step step) {
    Member& asker = member(ix);
    asker.admin = admin;
    memory_free = free;
    // What was put off comes first: operations take effect in their order.
    if (!asker.deferred.empty() || (answers_with_values(op) && !deliverable(ix)))
        return defer(ix, op, step);
    perform(ix, op, step);
    settle(step);
}

/// What can be said of an operation without its object.
Code Objects::judge(SessionIx ix, const wire::ObjectOp& op, std::string& text) const {
    if (op.timeout_ns < wire::kNoTimeout) {
        text = "the timeout is negative: its deadline has passed";
        return Code::InvalidRange;
    }
    // What comes after Peek is about sessions: the gateway's to do.
    if (op.verb < ObjectVerb::Open || op.verb > ObjectVerb::Peek) {
        text = "no such operation";
        return Code::InvalidRange;
    }
    for (const wire::ObjectItem& item : op.items) {
        if (item.body.size > config.payload_max) {
            text = "the value is larger than limits.payload";
            return Code::TooBig;
        }
        for (const ObjectId ref : item.refs) {
            const auto named = by_id.find(ref);
            if (named == by_id.end() || named->second->handles.count(ix) == 0) {
                text = "the value names an object of which there is no handle";
                return Code::NotFound;
            }
        }
    }
    return Code::None;
}

void Objects::perform(SessionIx ix, const wire::ObjectOp& op, Step& step) {
    Call call{ix, op, step, nullptr};
    std::string text;
    if (const Code code = judge(ix, op, text); code != Code::None)
        return fail(call, code, std::move(text));
    if (op.verb == ObjectVerb::Open) return open(call);
    if (op.verb == ObjectVerb::Interrupt) return interrupt(call);
    call.object = find(op.object);
    if (call.object == nullptr) {
        const bool lived = op.object != 0 && op.object < token;
        return fail(call,
                    lived ? Code::ObjectLost : Code::NotFound,
                    lived ? "the object ended" : "there was never such an object");
    }
    const bool rules =
        member(ix).admin && (op.verb == ObjectVerb::Remove || op.verb == ObjectVerb::Break ||
                             op.verb == ObjectVerb::Info);
    if (!rules && call.object->handles.count(ix) == 0)
        return fail(call, Code::ObjectClosed, "there is no handle of it");
    if (journal != nullptr && !call.object->name.empty() && changes(op.verb)) {
        JournalRecord record;
        record.fact = JournalRecord::Fact::Object;
        record.operation = &op;
        record.object = call.object->name;
        position = journal->append(record);
    }
    grip(*call.object);
    dispatch(call);
}

void Objects::dispatch(Call& call) {
    switch (call.op.verb) {
        case ObjectVerb::Close:
            return close(call);
        case ObjectVerb::Remove:
            end_object(*call.object, call.step);
            call.object = nullptr;
            return say(call, {});
        case ObjectVerb::Info:
            return info(call);
        case ObjectVerb::Put:
            return put(call);
        case ObjectVerb::Get:
        case ObjectVerb::Peek:
            return get(call);
        case ObjectVerb::Done:
            return done(call);
        case ObjectVerb::Join:
            return join(call);
        case ObjectVerb::Shut:
            return shut(call);
        case ObjectVerb::Acquire:
            return acquire(call);
        case ObjectVerb::Release:
            return release(call);
        case ObjectVerb::Wait:
            return wait(call);
        case ObjectVerb::Notify:
            return notify(call);
        case ObjectVerb::Reset:
            return reset(call);
        case ObjectVerb::Abort:
            return abort(call);
        case ObjectVerb::Read:
            return read(call);
        case ObjectVerb::Write:
            return write(call);
        case ObjectVerb::Erase:
            return erase(call);
        case ObjectVerb::Swap:
            return swap(call);
        case ObjectVerb::Add:
            return add(call);
        case ObjectVerb::Watch:
            return watch(call);
        case ObjectVerb::Unwatch:
            return unwatch(call);
        default:
            return break_lock(call);
    }
}

void Objects::open(Call& call) {
    const wire::ObjectOp& op = call.op;
    if (op.name.size() > wire::kObjectNameMax || !wire::clean_text(op.name))
        return fail(call, Code::InvalidName, "names are 1 to 128 bytes without control characters");
    if (op.type.size() > wire::kSignatureMax || !wire::clean_text(op.type))
        return fail(call, Code::InvalidName, "the type is no clean text of at most 1,024 bytes");
    if (op.object != 0) {
        call.object = find(op.object);
        if (call.object == nullptr)
            return fail(call, op.object < token ? Code::ObjectLost : Code::NotFound);
    } else if (const auto named = by_name.find(op.name); named != by_name.end()) {
        call.object = find(named->second);
        if (op.has(wire::kOpExclusive))
            return fail(call, Code::Conflict, "an object of that name exists");
    } else if (!op.name.empty() && !op.has(wire::kOpCreate)) {
        return fail(call, Code::NotFound, "no object has that name");
    }
    wire::ObjectReply reply;
    if (call.object == nullptr) {
        Code code = Code::None;
        std::string text;
        call.object = make(call, code, text);
        if (call.object == nullptr) return fail(call, code, std::move(text));
        reply.flags = wire::kReplyCreated;
    } else if ((op.shaped && op.shape.kind != call.object->kind()) ||
               !types_agree(op.type, call.object->type)) {
        return fail(call,
                    Code::TypeMismatch,
                    "it is a " + std::string{wire::name_of(call.object->kind())} + " of \"" +
                        call.object->type + "\"");
    }
    Object& object = *call.object;
    if (object.kind() == ObjectKind::Condition && op.shape.lock != 0 &&
        op.shape.lock != object.shape.lock)
        return fail(call, Code::TypeMismatch, "it belongs to another lock");
    add_handle(object, call.ix, op);
    reply.token = object.id;
    reply.value = static_cast<std::int64_t>(object.kind());
    reply.version = object.version;
    reply.count = place_of(object, call.ix);
    reply.text = object.type;
    say(call, std::move(reply));
}

void Objects::add_handle(Object& object, SessionIx ix, const wire::ObjectOp& op) {
    const Handles more{
        1, op.has(wire::kOpReader) ? 1ULL : 0ULL, op.has(wire::kOpWriter) ? 1ULL : 0ULL};
    for (Handles* each : {&object.open, &object.handles[ix]}) {
        each->count += more.count;
        each->readers += more.readers;
        each->writers += more.writers;
    }
    object.had_readers = object.had_readers || more.readers > 0;
    object.had_writers = object.had_writers || more.writers > 0;
    member(ix).objects.insert(object.id);
}

Code Objects::pass(SessionIx from,
                   SessionIx to,
                   const wire::ObjectOp& op,
                   wire::ObjectReply& reply) {
    Object* object = find(op.object);
    if (object == nullptr)
        return op.object != 0 && op.object < token ? Code::ObjectLost : Code::NotFound;
    if (object->handles.count(from) == 0) return Code::ObjectClosed;
    add_handle(*object, to, op);
    reply.count = place_of(*object, to);
    return Code::None;
}

/// What cannot be made is refused with the reason in `text`.
Code Objects::judge_shape(Call& call, std::string& text) const {
    const wire::ObjectOp& op = call.op;
    const wire::ObjectShape& shape = op.shape;
    const auto kind = static_cast<std::uint8_t>(shape.kind);
    if (!op.shaped || kind == 0 || kind > wire::kObjectKinds ||
        static_cast<std::uint8_t>(shape.cell) > static_cast<std::uint8_t>(wire::CellKind::F64)) {
        text = "a new object needs a shape that is known";
        return Code::InvalidRange;
    }
    const std::uint64_t most =
        shape.kind == ObjectKind::Barrier ? wire::kBarrierPartiesMax : wire::kObjectCapacityMax;
    if (is_counted(shape.kind) && (shape.capacity == 0 || shape.capacity > most)) {
        text = "the capacity must be 1 to " + std::to_string(most);
        return Code::InvalidRange;
    }
    if (shape.kind == ObjectKind::Semaphore && shape.initial > shape.capacity) {
        text = "a semaphore cannot begin above its bound";
        return Code::InvalidRange;
    }
    if (op.has(wire::kOpPersistent) && op.name.empty()) {
        text = "what has no name cannot be persistent";
        return Code::InvalidName;
    }
    if (shape.kind != ObjectKind::Condition) return Code::None;
    const auto lock = by_id.find(shape.lock);
    if (lock == by_id.end() || lock->second->handles.count(call.ix) == 0) {
        text = "a condition needs a lock of which there is a handle";
        return Code::NotFound;
    }
    if (lock->second->kind() == ObjectKind::Lock) return Code::None;
    text = "a condition belongs to a lock";
    return Code::TypeMismatch;
}

Object* Objects::make(Call& call, Code& code, std::string& text) {
    const wire::ObjectOp& op = call.op;
    code = judge_shape(call, text);
    if (code != Code::None) return nullptr;
    const bool array = op.shape.kind == ObjectKind::Array;
    const std::uint64_t least = kObjectCost + (array ? op.shape.capacity * (kItemCost + 8) : 0);
    if (by_id.size() >= config.objects_max || !room_for(least)) {
        code = Code::ObjectLimit;
        text = by_id.size() < config.objects_max
                   ? no_room(least)
                   : std::to_string(by_id.size()) + " objects are there: as many as limits.objects";
        return nullptr;
    }
    auto made = std::make_unique<Object>();
    Object& object = *made;
    object.name = op.name;
    object.type = op.type;
    object.shape = op.shape;
    object.flags = op.flags;
    object.permits = op.shape.kind == ObjectKind::Semaphore ? op.shape.initial : 0;
    object.is_set = op.shape.kind == ObjectKind::Event && op.shape.initial != 0;
    charge(object, kObjectCost, 0);
    code = fill(object, op.items);
    if (code != Code::None) {
        bytes -= object.bytes;
        text = "its first content is too much, or of another form";
        return nullptr;
    }
    object.id = next_token();
    if (object.kind() == ObjectKind::Condition) {
        add_ref(op.shape.lock);
        find(op.shape.lock)->conditions.insert(object.id);
    }
    if (!object.name.empty()) by_name[object.name] = object.id;
    if (journal != nullptr && !object.name.empty()) {
        JournalRecord record;
        record.fact = JournalRecord::Fact::Object;
        record.operation = &op;
        record.object = object.name;
        position = journal->append(record);
    }
    give_word(object);
    by_id[object.id] = std::move(made);
    return &object;
}

void Objects::close(Call& call) {
    const wire::ObjectOp& op = call.op;
    Object& object = *call.object;
    const Handles& has = object.handles[call.ix];
    const std::uint64_t n = call.count();
    const Handles less{n, op.has(wire::kOpReader) ? n : 0, op.has(wire::kOpWriter) ? n : 0};
    const bool too_many =
        less.count > has.count || less.readers > has.readers || less.writers > has.writers;
    const bool ends_left = n < has.count && (has.readers - less.readers > has.count - n ||
                                             has.writers - less.writers > has.count - n);
    if (too_many || ends_left)
        return fail(call, Code::InvalidRange, "there are not so many handles of it");
    wire::ObjectReply reply;
    reply.value = static_cast<std::int64_t>(has.count - n);
    say(call, std::move(reply));
    drop_handles(object, call.ix, less, call.step);
}

void Objects::info(Call& call) {
    const Object& object = *call.object;
    wire::ObjectReply reply;
    std::uint64_t size = object.size();
    bool set = object.is_set || object.shut;
    switch (object.kind()) {
        case ObjectKind::Semaphore:
            size = object.permits;
            break;
        case ObjectKind::Lock:
            size = object.holder ? object.holder->depth : 0;
            set = object.holder.has_value();
            break;
        case ObjectKind::Barrier:
            size = object.lines[kTakers].size;
            break;
        default:
            break;
    }
    for (const WaitLine& line : object.lines) reply.count += line.size;
    reply.value = static_cast<std::int64_t>(size);
    reply.token = object.shape.capacity;
    reply.version = object.version;
    reply.flags = set ? wire::kReplySet : 0U;
    say(call, std::move(reply));
}

void Objects::drop_handles(Object& object, SessionIx ix, const Handles& less, Step& step) {
    const auto own = object.handles.find(ix);
    Handles gone = less;
    if (less.count >= own->second.count) gone = own->second;
    for (Handles* each : {&object.open, &own->second}) {
        each->count -= gone.count;
        each->readers -= gone.readers;
        each->writers -= gone.writers;
    }
    if (own->second.count == 0) {
        leave(object, ix, step);
        object.handles.erase(ix);
        member(ix).objects.erase(object.id);
        member(ix).worded.erase(object.id);
    }
    const bool unread = object.had_readers && object.open.readers == 0;
    const bool unwritten = object.had_writers && object.open.writers == 0;
    if (object.has(wire::kOpEnds) && (unread || unwritten)) object.shut = true;
    serve(object, step);
    check_life(object);
}

/// The session has no handle of it any more: what it waits for and holds there ends.
void Objects::leave(Object& object, SessionIx ix, Step& step) {
    std::vector<std::pair<WaitIx, std::uint64_t>> here;
    for (WaitIx w = member(ix).waits.head; w != kNoWait; w = waits[w].session_next)
        if (waits[w].object == object.id) here.emplace_back(w, waits[w].op);
    for (const auto& [w, op] : here)
        if (waits[w].used && waits[w].session == ix && waits[w].op == op)
            abandon(w, Code::ObjectClosed, step);
    if (const auto holder = holder_of(object); holder && holder->owner.session == ix) grip(object);
    if (object.holder && object.holder->owner.session == ix) {
        if (object.kind() == ObjectKind::Lock) free_lock(object, true, step);
        if (object.kind() == ObjectKind::Barrier) break_barrier(object, step);
    }
    if (object.kind() == ObjectKind::Queue) return_items(object, ix, nullptr, step);
    std::vector<std::uint32_t> watched;
    for (const std::uint32_t watch : member(ix).watches)
        if (watches[watch].object == object.id) watched.push_back(watch);
    for (const std::uint32_t watch : watched) drop_watch(watch);
}

void Objects::check_life(Object& object) {
    if (object.handles.empty() && object.refs == 0 && !object.has(wire::kOpPersistent))
        ending.push_back(object.id);
}

/// Objects that nothing keeps end; that may end what their items named.
void Objects::settle(Step& step) {
    while (!ending.empty()) {
        Object* object = find(ending.back());
        ending.pop_back();
        if (object != nullptr && object->handles.empty() && object->refs == 0 &&
            !object->has(wire::kOpPersistent))
            end_object(*object, step);
    }
    let_go_idle();
}

void Objects::end_object(Object& object, Step& step) {
    for (const LineName line : {kTakers, kPutters, kJoiners})
        end_line(object, line, Code::ObjectLost, step);
    while (!object.watches.empty()) {
        const std::uint32_t watch = object.watches.begin()->second;
        tell(watch, wire::ObjectChange::Gone, step);
        drop_watch(watch);
    }
    if (object.holder) member(object.holder->owner.session).holding.erase(object.id);
    for (auto& [lease, each] : object.leased) {
        member(each.owner.session).holding.erase(object.id);
        drop(object, each.item, 0);
    }
    if (object.cells)
        for (StoredItem& item : *object.cells) drop(object, item, 0);
    for (auto& [key, item] : object.entries) drop(object, item, key.size());
    for (const ObjectId condition : object.conditions)
        if (Object* of_it = find(condition); of_it != nullptr)
            end_line(*of_it, kTakers, Code::ObjectLost, step);
    if (object.kind() == ObjectKind::Condition) {
        if (Object* lock = find(object.shape.lock); lock != nullptr)
            lock->conditions.erase(object.id);
        drop_ref(object.shape.lock);
    }
    for (const auto& [ix, handles] : object.handles) {
        member(ix).objects.erase(object.id);
        member(ix).worded.erase(object.id);
    }
    end_word(object);
    bytes -= object.bytes;
    if (!object.name.empty()) by_name.erase(object.name);
    by_id.erase(object.id);
}

}  // namespace forkmill::engine
