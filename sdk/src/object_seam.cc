// SPDX-License-Identifier: Apache-2.0
// The seam's functions about shared objects: from requests to operations, from answers to values.
#include "forkmill/detail/object_seam.h"

#include <algorithm>
#include <chrono>
#include <stop_token>
#include <utility>

#include "forkmill/detail/nested.h"
#include "forkmill/detail/object_pages.h"
#include "forkmill/errors.h"
#include "forkmill/object.h"
#include "forkmill/pool.h"
#include "sdk/src/client.h"
#include "sdk/src/object_port.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

static_assert(static_cast<int>(ObjectKind::Array) == static_cast<int>(wire::ObjectKind::Array));
static_assert(static_cast<int>(Verb::Read) == static_cast<int>(wire::ObjectVerb::Read));
static_assert(static_cast<int>(Verb::Break) == static_cast<int>(wire::ObjectVerb::Break));
static_assert(static_cast<int>(kReader) == wire::kOpReader && int{kOld} == wire::kOpOld &&
              int{kTask} == wire::kOpTask && int{kIfVersion} == wire::kOpIfVersion);
static_assert(kAnswerSet == wire::kReplySet && kEndOfList == wire::kListEnd);
static_assert(static_cast<int>(Cell::Real) == static_cast<int>(wire::CellKind::F64));

namespace {

constexpr std::uint64_t kCapacityMax = 1 << 24;
constexpr Duration kGrace = std::chrono::seconds{1};  ///< For the broker's word on a timeout.

thread_local Ask* t_unpacking = nullptr;
thread_local std::vector<std::uint64_t>* t_packing = nullptr;
thread_local std::vector<SharedPtr>* t_passing = nullptr;
thread_local std::deque<SharedPtr>* t_passed = nullptr;

std::int64_t nanos(Duration timeout) {
    if (timeout == forever) return wire::kNoTimeout;
    return std::max<std::int64_t>(timeout.count(), 0);
}

wire::ObjectItem item_of(Item&& item, std::uint64_t& bytes) {
    wire::ObjectItem out;
    out.key.assign(reinterpret_cast<const char*>(item.key.data()), item.key.size());
    std::sort(item.refs.begin(), item.refs.end());
    item.refs.erase(std::unique(item.refs.begin(), item.refs.end()), item.refs.end());
    out.refs = std::move(item.refs);
    // The broker takes no frame with more, and its other operations would be lost with it.
    if (out.key.size() > wire::kObjectKeyMax)
        throw TooBig{"the packed key takes " + std::to_string(out.key.size()) +
                     " bytes; the limit is " + std::to_string(wire::kObjectKeyMax)};
    if (out.refs.size() > wire::kObjectRefsMax)
        throw TooBig{"a value names at most " + std::to_string(wire::kObjectRefsMax) +
                     " objects; it names " + std::to_string(out.refs.size())};
    const std::size_t size = item.body.size();
    bytes += size + out.key.size();
    std::byte* data = item.body.data();
    base::Blob blob =
        size == 0 ? base::Blob{} : base::Blob::adopt(std::move(item.body), data, size);
    out.body.body = base::Body::of(std::move(blob));
    out.body.size = size;
    return out;
}

void take_items(std::vector<Item>& items, std::size_t most, wire::ObjectOp& op, Client& client) {
    std::uint64_t bytes = 0;
    const std::size_t count = std::min(items.size(), most);
    for (std::size_t i = 0; i < count; ++i) op.items.push_back(item_of(std::move(items[i]), bytes));
    items.erase(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(count));
    if (bytes <= client.payload_max()) return;
    throw TooBig{"the packed values take " + std::to_string(bytes) + " bytes; the limit is " +
                 std::to_string(client.payload_max())};
}

AskPtr ask_of(const SharedPtr& object) {
    if (!object) throw UsageError{"this handle names no object: make one from a pool"};
    object->client->check_fork();
    object->client->objects().check_alive(*object);
    auto ask = std::make_shared<Ask>();
    ask->client = object->client;
    ask->object = object;
    return ask;
}

AskPtr make_ask(const SharedPtr& object, Request&& request) {
    AskPtr ask = ask_of(object);
    Client& client = *object->client;
    wire::ObjectOp& op = ask->op;
    op.verb = static_cast<wire::ObjectVerb>(request.verb);
    op.object = object->identity.id;
    const Holder holder = current_holder(client);
    op.owner = holder.number;
    op.flags = request.flags | (holder.task ? kTask : 0U);
    op.timeout_ns = nanos(request.timeout);
    op.token = request.token;
    op.version = request.version;
    op.index = request.index;
    op.count = request.count;
    if (request.items.size() > kItemsMax)
        throw TooBig{"an operation has at most 512 items; it has " +
                     std::to_string(request.items.size())};
    take_items(request.items, kItemsMax, op, client);
    return ask;
}

/// Opens and adopts; `made` tells whether it was made now.
SharedPtr open_now(const ClientPtr& client,
                   wire::ObjectOp&& op,
                   Shared::Identity identity,
                   bool& made) {
    client->check_fork();
    auto ask = std::make_shared<Ask>();
    ask->client = client;
    ask->op = std::move(op);
    ask->op.verb = wire::ObjectVerb::Open;
    client->objects().ask(ask);
    try {
        await_answer(ask);
    } catch (...) {
        abandon(ask);
        throw;
    }
    if (ask->code != wire::Code::None) throw_refusal(*ask);
    made = (ask->answer.flags & wire::kReplyCreated) != 0;
    identity.id = ask->answer.token;
    identity.epoch = ask->epoch;  // It may have waited for the first broker, or for the next.
    identity.find_word(*client, ask->answer.count);
    return client->objects().adopt(client, identity, true);
}

/// The next of the handles that this process was given at its birth, if it is that one.
SharedPtr take_passed(std::uint64_t id, std::uint32_t role) {
    if (t_passed == nullptr || t_passed->empty()) return nullptr;
    const Shared::Identity& next = t_passed->front()->identity;
    if (next.id != id || next.role != role) return nullptr;
    SharedPtr object = std::move(t_passed->front());
    t_passed->pop_front();
    return object;
}

}  // namespace

void set_passed(std::deque<SharedPtr>* handles) noexcept {
    t_passed = handles;
}

SharedPtr open_object(Pool& pool, Opening opening) {
    const ClientPtr& client = client_of(pool);
    wire::ObjectOp op;
    op.flags = opening.flags;
    op.name = std::move(opening.name);
    op.type = std::move(opening.type);
    op.shaped = true;
    op.shape.kind = static_cast<wire::ObjectKind>(opening.kind);
    op.shape.capacity = opening.capacity;
    const bool grows = opening.kind == ObjectKind::Queue || opening.kind == ObjectKind::Dict ||
                       opening.kind == ObjectKind::List;
    if (grows && opening.capacity == 0) op.shape.capacity = kCapacityMax;
    op.shape.bytes = opening.bytes;
    op.shape.initial = opening.initial;
    op.shape.cell = static_cast<wire::CellKind>(opening.cell);
    if (opening.lock) op.shape.lock = opening.lock->identity.id;
    take_items(opening.items, kItemsMax, op, *client);
    Shared::Identity identity;
    identity.kind = op.shape.kind;
    identity.role = opening.flags & (kReader | kWriter);
    identity.leased = (opening.flags & kLeased) != 0;
    identity.reentrant = (opening.flags & kReentrant) != 0;
    bool made = false;
    SharedPtr object = open_now(client, std::move(op), identity, made);
    if (made && !opening.items.empty()) {
        Pages pages{object, Verb::Write, static_cast<std::int64_t>(kItemsMax)};
        for (Item& item : opening.items) pages.add(std::move(item));
        pages.finish();
    }
    return object;
}

SharedPtr open_end(const SharedPtr& object, std::string_view type, std::uint32_t role) {
    if (SharedPtr known = object->client->objects().known(object->identity.id, role)) return known;
    wire::ObjectOp op;
    op.object = object->identity.id;
    op.flags = role;
    op.type = type;
    Shared::Identity identity = object->identity;
    identity.role = role;
    bool made = false;
    return open_now(object->client, std::move(op), identity, made);
}

SharedPtr object_arrived(std::uint64_t id,
                         ObjectKind kind,
                         std::string_view type,
                         std::uint32_t role) {
    if (t_unpacking == nullptr)
        if (SharedPtr passed = take_passed(id, role)) return passed;
    const ClientPtr client = t_unpacking != nullptr ? t_unpacking->client : unpacking_client();
    if (!client)
        throw PackError{
            "a handle of a shared object can be unpacked in a task, in a result, in the arguments "
            "of a Process or in the value of another object only"};
    client->check_fork();
    ObjectPort& port = client->objects();
    Shared::Identity identity;
    identity.id = id;
    identity.kind = static_cast<wire::ObjectKind>(kind);
    identity.role = role;
    identity.reentrant = type == "rlock";
    if (SharedPtr known = port.known(id, role)) {
        if (known->identity.kind != identity.kind)
            throw TypeMismatch{"this object is of another kind"};
        return known;
    }
    // A lock in shared memory is opened again: only that tells where its word is.
    const bool worded = kind == ObjectKind::Lock && !client->lock_words().empty();
    if (role == 0 && !worded && t_unpacking != nullptr && port.take_adopted(*t_unpacking, id)) {
        identity.epoch = t_unpacking->epoch;
        return port.adopt(client, identity, true);
    }
    wire::ObjectOp op;
    op.object = id;
    op.flags = role;
    op.type = type;
    op.shaped = true;
    op.shape.kind = identity.kind;
    bool made = false;
    return open_now(client, std::move(op), identity, made);
}

std::uint64_t object_leaves(const SharedPtr& object) {
    if (!object) throw PackError{"a handle that names no object cannot travel"};
    if (t_packing != nullptr) t_packing->push_back(object->identity.id);
    if (t_passing != nullptr) t_passing->push_back(object);
    return object->identity.id;
}

std::uint64_t id_of(const SharedPtr& object) {
    return object->identity.id;
}

AskPtr ask(const SharedPtr& object, Request request) {
    AskPtr ask = make_ask(object, std::move(request));
    ask->client->objects().ask(ask);
    return ask;
}

AskPtr nothing_to_ask(const SharedPtr& object) {
    AskPtr ask = ask_of(object);
    ask->settled = true;
    ask->word.store(Ask::kDone, std::memory_order_release);
    return ask;
}

AskPtr ask_under_lock(const SharedPtr& object,
                      Request request,
                      const SharedPtr& lock,
                      const Holder& holder) {
    AskPtr ask = make_ask(object, std::move(request));
    ask->lock = lock;
    ask->op.owner = holder.number;
    ask->op.flags = (ask->op.flags & ~std::uint32_t{kTask}) | (holder.task ? kTask : 0U);
    ask->client->objects().ask(ask);
    return ask;
}

void act(Ask& ask) {
    std::function<void()> action;
    {
        const std::lock_guard lock{ask.object->mutex};
        action = ask.object->action;
    }
    try {
        if (action) action();
    } catch (...) {
        perform(ask.object, {.verb = Verb::Abort});
        throw;
    }
    Request request{.verb = Verb::Release, .token = ask.answer.token};
    const Holder holder{ask.op.owner, ask.op.has(wire::kOpTask)};
    const AskPtr released = ask_under_lock(ask.object, std::move(request), nullptr, holder);
    await_answer(released);
    finish_done(*released);
}

bool answered(const Ask& ask) {
    return ask.is_settled();
}

const Answer& answer_of(const Ask& ask) {
    return ask.answer;
}

ItemView sent_item(const Ask& ask) {
    const wire::ObjectItem& item = ask.op.items.front();
    return {base::bytes_of(item.key), item.body.body.view};
}

const Answer& await_answer(const AskPtr& ask) {
    if (ask->is_settled()) return ask->answer;
    Client& client = *ask->client;
    client.check_fork();
    const bool bounded = ask->op.timeout_ns >= 0;
    const Duration timeout{ask->op.timeout_ns};
    Duration limit = bounded && timeout < forever - kGrace ? timeout + kGrace : forever;
    TaskScope* scope = task_scope();
    const std::stop_callback passed_on{scope != nullptr ? scope->stop : std::stop_token{},
                                       [&] { client.objects().interrupt(*ask); }};
    try {
        const auto slice = [&](base::Time until) { return ask->wait(until); };
        // A broker that lives will say when the time is over, however busy it is.
        while (!client.wait_until(limit, slice)) {
            if (client.liveness() != Liveness::Live)
                throw Disconnected{"the broker does not answer"};
            limit = kGrace;
        }
    } catch (const Disconnected&) {
        throw Disconnected{std::string{wire::name_of(ask->op.verb)} +
                           ": the broker does not answer; whether it took effect is unknown"};
    }
    return ask->answer;
}

void throw_refusal(const Ask& ask) {
    throw_object(ask.code, ask.text, ask.op.verb);
}

void then_answered(const AskPtr& ask, std::function<void()> call) {
    if (!ask) throw UsageError{"the outcome of this operation was taken already"};
    ask->client->check_fork();
    ask->client->start_callbacks();
    // Whoever drops it, as a coroutine that is destroyed does, is not called any more, also when
    // the call was due already.
    ask->client->objects().then(ask, [weak = ask->weak_from_this(), call = std::move(call)] {
        const AskPtr held = weak.lock();
        if (held && !held->abandoned) call();
    });
}

void abandon(const AskPtr& ask) noexcept {
    if (!ask->client->forked()) ask->client->objects().abandon(*ask);
}

AskPtr perform(const SharedPtr& object, Request request) {
    AskPtr asked = ask(object, std::move(request));
    try {
        await_answer(asked);
    } catch (...) {
        abandon(asked);
        throw;
    }
    finish_done(*asked);
    return asked;
}

void finish_done(Ask& ask) {
    if (ask.code != wire::Code::None) throw_refusal(ask);
}

bool finish_in_time(Ask& ask) {
    if (ask.answer.told == Told::TimedOut) return false;
    finish_done(ask);
    return true;
}

bool finish_there(Ask& ask) {
    if (ask.answer.told == Told::Absent) return false;
    finish_done(ask);
    return true;
}

bool finish_flag(Ask& ask) {
    finish_done(ask);
    return (ask.answer.flags & kAnswerSet) != 0;
}

std::size_t finish_count(Ask& ask) {
    finish_done(ask);
    return static_cast<std::size_t>(ask.answer.value);
}

Unpacking::Unpacking(Ask& ask) : before_(std::exchange(t_unpacking, &ask)) {}
Unpacking::~Unpacking() {
    t_unpacking = before_;
}
Packing::Packing(std::vector<std::uint64_t>& refs) : before_(std::exchange(t_packing, &refs)) {}
Packing::~Packing() {
    t_packing = before_;
}
Passing::Passing(std::vector<SharedPtr>& handles) : before_(std::exchange(t_passing, &handles)) {}
Passing::~Passing() {
    t_passing = before_;
}

WatchPtr watch(const SharedPtr& object,
               Request request,
               std::function<void(const Change&)> handler) {
    const AskPtr ask = make_ask(object, std::move(request));
    auto state = std::make_shared<WatchState>();
    state->client = ask->client;
    state->object = object;
    state->handler = [client = std::weak_ptr{ask->client},
                      call = std::move(handler)](const Change& change) {
        const ClientPtr of = client.lock();
        set_viewed_client(of.get());
        call(change);
    };
    ask->client->start_callbacks();
    ask->client->objects().start_watch(state, ask);
    try {
        await_answer(ask);
        finish_done(*ask);
    } catch (...) {
        end_watch(state);
        throw;
    }
    return state;
}

void end_watch(const WatchPtr& watch) noexcept {
    if (!watch->client->forked()) watch->client->objects().end_watch(*watch);
}

}  // namespace detail

void Object::remove() {
    remove_async().get();
}
Operation<void> Object::remove_async() {
    return {detail::ask(shared_, {.verb = detail::Verb::Remove}), &detail::finish_done};
}

detail::SharedPtr Object::open(Pool& pool, const ObjectOptions& options, detail::Opening opening) {
    if (options.name.empty()) {
        if (options.persistent || !options.create)
            throw UsageError{"only an object with a name can be persistent, or be there already"};
    } else if (options.create) {
        opening.flags |= detail::kCreate;
        if (options.exclusive) opening.flags |= detail::kExclusive;
    }
    if (options.persistent) opening.flags |= detail::kPersistent;
    opening.name = options.name;
    return detail::open_object(pool, std::move(opening));
}

Operation<std::size_t> Object::count_async() const {
    return {detail::ask(shared_, {.verb = detail::Verb::Info}), &detail::finish_count};
}

}  // namespace v0
}  // namespace forkmill
