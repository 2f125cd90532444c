// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/embedded.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/base/identity.h"
#include "forkmill/errors.h"
#include "forkmill/pool.h"
#include "sdk/local/host_limits.h"
#include "sdk/local/lock_memory.h"
#include "sdk/src/client_log.h"

namespace forkmill {
inline namespace v0 {
namespace local {

namespace {

constexpr int kMessagesPerTurn = 256;
constexpr std::size_t kSubmitsPerTurn = 4096;  ///< Then workers are fed before more is read.
constexpr std::size_t kSubmitsPerBatch = 256;
constexpr base::Duration kBirths = std::chrono::seconds{10};
constexpr base::Duration kBacklog = std::chrono::milliseconds{5};

engine::Config engine_config() {
    engine::Config config;
    config.local = true;
    config.memory_max = broker_memory();
    config.tasks_per_session_max = wire::kWindowMax;
    config.lock_words = lock_words();
    return config;
}

std::string gateway_name() {
    return "embedded:" + std::to_string(::getpid());
}

broker::GatewayConfig gateway_config(const Plan& plan) {
    broker::GatewayConfig config;
    config.host_key = plan.host_key;
    config.name = gateway_name();
    return config;
}

}  // namespace

Embedded::Embedded(detail::Client& client,
                   std::shared_ptr<ForkHost> host,
                   Plan plan,
                   std::uint32_t workers,
                   std::shared_ptr<net::Wakeup> wakeup)
    : client_(client),
      io_(client.io()),
      objects_(client.objects()),
      host_(std::move(host)),
      wakeup_(std::move(wakeup)),
      host_key_(plan.host_key),
      pool_name_(plan.pool),
      port_(*wakeup_),
      pool_(*host_, port_),
      engine_(engine_config(), 1, base::monotonic_now(), base::random_number()),
      gateway_(gateway_config(plan), engine_, base::monotonic_now()),
      plan_fd_(write_plan(plan)),
      crew_(
          *host_,
          pool_.get(),
          workers,
          plan_fd_.get(),
          [this](int fd) { server_.adopt(net::UniqueFd{fd}); },
          base::random_number()),
      heirs_(client.objects()) {
    engine::SessionInfo info;
    info.key = base::random_session();
    info.stream = client_.stream();
    info.principal = "local";
    info.host = base::host_name();
    info.pid = ::getpid();
    session_ = gateway_.open_local(info, *this, base::monotonic_now());
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    std::unique_lock lock{mutex_};
    changed_.wait_for(lock, kBirths, [this] { return born_ || ended_; });
}

Embedded::~Embedded() {
    stop();
}

void Embedded::run() {
    ::pthread_setname_np(::pthread_self(), "forkmill-broker");
    loop_.add(server_, [this] { receive(); });
    loop_.add(*wakeup_, [] {});
    watching_host_ = true;
    loop_.add(host_->fd(), [this] { host_->pump(); });
    crew_.start(base::monotonic_now());
    for (;;) {
        const base::Time now = base::monotonic_now();
        join_visitors();
        turn(now);
        if (ending_ && crew_.gone()) break;
        loop_.run_once(more_ ? now : next_timer(now));
    }
    io_.fail_all(wire::Outcome::Cancelled, wire::Code::TaskCancelled, "the pool was closed");
    io_.publish();
    io_.pumped();
    objects_.end(wire::Code::TaskCancelled, "the pool was closed");
    gateway_.close_local(session_, base::monotonic_now());
    if (watching_host_) loop_.remove(host_->fd());
    if (door_) loop_.remove(door_->fd());
    heirs_.leave(loop_);
    loop_.remove(server_);
    loop_.remove(*wakeup_);
    const std::lock_guard lock{mutex_};
    ended_ = true;
    changed_.notify_all();
}

void Embedded::turn(base::Time now) {
    io_.set_now(now);
    hear_notices(now);
    crew_.tick(now);
    obey(now);
    submit(now);
    cancel(now);
    operate(now);
    gateway_.pump(now, base::wall_now());
    for (const broker::KillOrder& order : gateway_.kills())
        crew_.kill(order.slot, order.birth, order.cause);
    gateway_.kills().clear();
    send(now);
    io_.publish();
    grant(now);
    io_.pumped();
}

base::Time Embedded::next_timer(base::Time now) const {
    base::Time next = std::min({gateway_.next_timer(), crew_.next_timer(now), io_.next_timer()});
    if (host_->flush()) next = std::min(next, now + kBacklog);
    return next;
}

void Embedded::receive() {
    const base::Time now = base::monotonic_now();
    const base::WallNanos wall = base::wall_now();
    net::Incoming incoming;
    for (int i = 0; i < kMessagesPerTurn && server_.receive(incoming); ++i) {
        const broker::Handle from{0, incoming.conn};
        switch (incoming.kind) {
            case net::Incoming::Kind::Connected:
                break;
            case net::Incoming::Kind::Message:
                gateway_.on_message(from, std::move(incoming.message), now, wall);
                break;
            case net::Incoming::Kind::Disconnected:
                gateway_.on_disconnected(from, now);
                break;
            case net::Incoming::Kind::Rejected:
                gateway_.on_broken(from, incoming.reason, now);
                break;
        }
    }
}

/// A door is made by whoever needs the first one, but this thread alone looks at it.
void Embedded::join_visitors() {
    heirs_.join(loop_);
    if (!door_due_.exchange(false, std::memory_order_acq_rel)) return;
    if (door_) loop_.remove(door_->fd());
    const std::lock_guard lock{mutex_};
    door_ = std::exchange(new_door_, std::nullopt);
    loop_.add(door_->fd(), [this] { answer_door(); });
}

void Embedded::answer_door() {
    while (std::optional<supervisor::Packet> packet = door_->receive()) {
        for (supervisor::OwnedFd& fd : packet->fds) server_.adopt(net::UniqueFd{fd.release()});
    }
    if (!door_->closed()) return;
    // Somebody's connection found no room in our table of descriptors: the next process gets
    // another door.
    detail::log_warning("no descriptors left for the connections of processes");
    loop_.remove(door_->fd());
    door_.reset();
    const std::lock_guard lock{mutex_};
    doorstep_.reset();
}

detail::Way Embedded::way() {
    detail::Way way{.endpoint = gateway_name(), .keys = {}, .door = nullptr};
    const std::lock_guard lock{mutex_};
    if (!doorstep_) {
        base::Result<std::array<supervisor::Channel, 2>> pair = supervisor::Channel::pair();
        if (!pair.ok()) throw Busy{pair.failure().text};
        new_door_ = std::move(pair.value()[0]);
        doorstep_ = std::make_shared<supervisor::Channel>(std::move(pair.value()[1]));
        door_due_.store(true, std::memory_order_release);
        wake();
    }
    way.door = doorstep_;
    return way;
}

base::Status Embedded::end_with(const base::SessionKey& heir, detail::Sentinel sentinel) {
    base::Status watched = heirs_.add(heir, std::move(sentinel));
    wake();
    return watched;
}

void Embedded::hear_notices(base::Time now) {
    if (watching_host_ && host_->dead()) {
        host_->pump();  // What it reported before it died comes first.
        loop_.remove(host_->fd());
        watching_host_ = false;
        host_lost();
    }
    port_.take(notices_);
    for (const supervisor::Notice& notice : notices_) {
        if (notice.verb == supervisor::Verb::Failed)
            detail::log_warning("a worker could not start: " + std::string{notice.text_view()});
        if (crew_.on_notice(notice, now)) gateway_.on_notice(host_key_, pool_name_, notice, now);
    }
    if (notices_.empty() || !crew_.all_born()) return;
    const std::lock_guard lock{mutex_};
    if (born_) return;
    born_ = true;
    changed_.notify_all();
}

void Embedded::host_lost() {
    crew_.on_host_lost();
    dead_ = true;
    client_.set_liveness(detail::Liveness::Lost);
    detail::log_warning("the fork server is dead, and with it all workers of the pool");
}

void Embedded::obey(base::Time now) {
    if (dead_)
        io_.fail_all(wire::Outcome::Failed,
                     wire::Code::PoolBroken,
                     "the fork server of this program is dead");
    if (ending_ && !terminating_.load(std::memory_order_acquire)) return;
    if (terminating_.load(std::memory_order_acquire)) {
        io_.fail_all(
            wire::Outcome::Cancelled, wire::Code::TaskCancelled, "the pool was terminated");
        if (std::exchange(terminated_, true)) return;
        engine_.cancel(session_, {}, false, true, now, gateway_.effects());
        gateway_.apply_effects(now);
        crew_.stop(now);
        ending_ = true;
    } else if (closing_.load(std::memory_order_acquire) && !io_.has_work() &&
               io_.unsettled() == 0) {
        crew_.drain(now);
        ending_ = true;
    }
}

void Embedded::submit(base::Time now) {
    io_.take();
    more_ = false;
    base::WallNanos wall = 0;
    std::size_t count = 0;
    while (const session::SubmitItem* item = io_.peek()) {
        if (sent_records_ >= engine_.credit_records(session_) ||
            sent_bytes_ >= engine_.credit_bytes(session_))
            break;
        if (count >= kSubmitsPerTurn) {
            more_ = true;
            break;
        }
        if (wall == 0) wall = base::wall_now();
        if (!submit_one(*item, now, wall)) continue;
        if (++count % kSubmitsPerBatch == 0) gateway_.apply_effects(now);
    }
    if (count == 0) return;
    gateway_.apply_effects(now);
    engine_.set_floor(session_, io_.floor());
}

bool Embedded::submit_one(const session::SubmitItem& item, base::Time now, base::WallNanos wall) {
    if (item.attach != nullptr) {
        engine_.attach(session_, item.seq, *item.attach, now, gateway_.effects());
        io_.pop();
        return true;
    }
    if (!define(item.template_id)) {
        io_.fail(item.seq,
                 wire::Outcome::Failed,
                 wire::Code::InvalidRange,
                 "the task's options are out of range",
                 wire::Ran::No);
        return false;
    }
    engine_.submit(session_,
                   item.template_id,
                   item.seq,
                   item.body,
                   item.extras,
                   false,
                   now,
                   wall,
                   gateway_.effects());
    ++sent_records_;
    sent_bytes_ += item.body.size();
    io_.pop();
    return true;
}

bool Embedded::define(std::uint32_t template_id) {
    if (template_id < defined_.size() && defined_[template_id]) return true;
    wire::TemplateDef definition = io_.template_of(template_id);
    // Queues are the daemon's: here every worker serves every task, so a name makes no difference.
    definition.queue.clear();
    const wire::Code code = engine_.define_template(session_, definition);
    if (code != wire::Code::None) return false;
    if (defined_.size() <= template_id) defined_.resize(template_id + 1, false);
    defined_[template_id] = true;
    return true;
}

void Embedded::cancel(base::Time now) {
    bool any = false;
    while (const std::optional<session::CancelItem> item = io_.next_cancel()) {
        const std::array<std::uint64_t, 1> seq{item->seq};
        engine_.cancel(session_, seq, item->kill, false, now, gateway_.effects());
        any = true;
    }
    if (any) gateway_.apply_effects(now);
}

/// Operations on shared objects: the engine is asked without a frame in between.
void Embedded::operate(base::Time now) {
    std::size_t count = 0;
    while (const wire::ObjectOp* next = objects_.peek_operation()) {
        if (count == kSubmitsPerTurn) {
            more_ = true;
            break;
        }
        gateway_.operate(session_, *next, now);
        objects_.pop_operation();
        if (++count % kSubmitsPerBatch == 0) gateway_.apply_effects(now);
    }
    if (count > 0) gateway_.apply_effects(now);
}

void Embedded::send(base::Time now) {
    std::vector<broker::Outgoing>& out = gateway_.out();
    for (std::size_t i = 0; i < out.size(); ++i) {
        const broker::Outgoing item = std::move(out[i]);
        bool drop = item.disconnect;
        if (!item.message.control.empty() &&
            server_.send(item.to.conn, item.message) == net::Sent::Full) {
            gateway_.on_broken(item.to, "its write queue is full", now);
            drop = true;
        }
        if (drop) {
            server_.disconnect(item.to.conn);
            gateway_.on_disconnected(item.to, now);
        }
    }
    out.clear();
    server_.flush();
}

void Embedded::grant(base::Time now) {
    const auto [records, bytes] = io_.consumed();
    taken_records_ += records;
    taken_bytes_ += bytes;
    constexpr std::uint64_t kRecords = session::ClientCore::kResultRecords;
    constexpr std::uint64_t kBytes = session::ClientCore::kResultBytes;
    if (granted_records_ >= taken_records_ + kRecords / 2 &&
        granted_bytes_ >= taken_bytes_ + kBytes / 2)
        return;
    granted_records_ = taken_records_ + kRecords;
    granted_bytes_ = taken_bytes_ + kBytes;
    engine_.grant_results(session_, granted_records_, granted_bytes_, now, gateway_.effects());
    gateway_.apply_effects(now);
    more_ = true;  // What waited for the credit is leased in the next turn.
}

void Embedded::on_effect(const engine::Effect& effect, const engine::Effects& all) {
    using Kind = engine::Effect::Kind;
    switch (effect.kind) {
        case Kind::Outcome: {
            const base::Body body =
                effect.extra != 0 ? all.bodies[effect.extra - 1] : base::Body::of(effect.view);
            if (io_.settle(effect.seq, effect.outcome, body)) return;
            ++taken_records_;
            taken_bytes_ += body.size();
            return;
        }
        case Kind::Refused: {
            wire::Refused refused;
            refused.seq = effect.seq;
            refused.code = effect.code;
            refused.retry_after_ms = effect.count;
            if (effect.text != 0) refused.text = all.texts[effect.text - 1];
            return io_.on_refused(refused);
        }
        case Kind::Forgotten:
            return io_.on_forgotten(effect.seq, std::max<std::uint64_t>(effect.count, 1));
        case Kind::Partial:
            return io_.on_partial(effect.seq,
                                  effect.fraction,
                                  effect.text != 0 ? std::string_view{all.texts[effect.text - 1]}
                                                   : std::string_view{});
        case Kind::ObjectReply:
            objects_.on_answer(all.object_replies[effect.extra - 1]);
            return;
        case Kind::ObjectEvent:
            objects_.on_event(all.object_events[effect.extra - 1]);
            return;
        default:
            return;  // ACCEPTED and CREDIT: the limits are asked for when they matter.
    }
}

void Embedded::close() {
    closing_.store(true, std::memory_order_release);
    wake();
}

void Embedded::terminate() noexcept {
    terminating_.store(true, std::memory_order_release);
    wake();
}

bool Embedded::join(base::Time until) {
    std::unique_lock lock{mutex_};
    while (!ended_ && base::monotonic_now() < until) {
        changed_.wait_for(lock,
                          std::min<base::Duration>(until - base::monotonic_now(),
                                                   std::chrono::milliseconds{500}));
    }
    return ended_;
}

void Embedded::stop() noexcept {
    terminate();
    if (thread_.joinable()) thread_.join();
}

std::vector<WorkerInfo> Embedded::workers() {
    std::vector<WorkerInfo> list;
    const std::vector<Crew::Row> rows = crew_.rows();
    for (std::uint32_t slot = 0; slot < rows.size(); ++slot) {
        if (rows[slot].pid == 0) continue;
        WorkerInfo info;
        info.host = base::host_name();
        info.pid = rows[slot].pid;
        info.state = supervisor::name_of(rows[slot].state);
        info.pool = pool_name_;
        info.slot = slot;
        info.done = crew_.tasks_done(slot);
        list.push_back(std::move(info));
    }
    return list;
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
