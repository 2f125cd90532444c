// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/worker_node.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/wire/codec.h"
#include "tests/sim/broker_node.h"

namespace sim {

using namespace forkmill;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {
constexpr Duration kTrust = seconds{8};
}

void ModelHands::start(std::span<worker::Job* const> jobs) {
    waiting_.insert(waiting_.end(), jobs.begin(), jobs.end());
    begin_next();
}

void ModelHands::begin_next() {
    while (runs_.size() < threads_ && !waiting_.empty()) {
        worker::Job* job = waiting_.front();
        waiting_.pop_front();
        begin(*job);
    }
}

void ModelHands::begin(worker::Job& job) {
    World::Truth& truth = world_.truths[{job.task.stream, job.task.seq}];
    ++truth.starts;
    world_.network.say("worker " + std::to_string(node_.slot()) + " begins task " +
                       std::to_string(job.task.stream) + "/" + std::to_string(job.task.seq) +
                       " attempt " + std::to_string(job.attempt) + " lease " +
                       std::to_string(job.lease));
    if (truth.at_most_once && truth.starts > 1)
        world_.violate("at_most_once task " + std::to_string(job.task.seq) + " was started twice");
    if (truth.starts > 1 && !truth.lost_cause && !truth.failing)
        world_.violate("task " + std::to_string(job.task.seq) +
                       " ran again although nothing was lost");
    const std::uint64_t number = next_++;
    job.started = world_.clock.now();
    runs_.push_back({&job, number, job.lease, &truth, world_.clock.now()});
    if (TaskSharer* sharer = node_.sharer(); sharer != nullptr) sharer->begin(number, job.lease);
    const Duration run = world_.random.chance(0.2)
                             ? world_.random.between(milliseconds{20}, milliseconds{250})
                             : world_.random.between(microseconds{20}, milliseconds{2});
    const auto later = [this, number, life = node_.life()](Duration delay, auto act) {
        world_.clock.after(delay, [number, life, act, node = &node_] {
            if (node->life() == life && node->alive()) act(number);
        });
    };
    if (truth.poison) {
        later(run, [this](std::uint64_t) { node_.die(supervisor::Cause::Signal); });
    } else if (!truth.hanging) {
        later(run, [this](std::uint64_t which) { end(which, wire::Outcome::Succeeded); });
    }
}

void ModelHands::end(std::uint64_t number, wire::Outcome outcome) {
    if (node_.frozen_until() > world_.clock.now()) {  // A frozen process ends nothing.
        world_.clock.at(node_.frozen_until(),
                        [this, number, outcome, life = node_.life(), node = &node_] {
                            if (node->life() == life && node->alive()) end(number, outcome);
                        });
        return;
    }
    const auto found = std::find_if(
        runs_.begin(), runs_.end(), [&](const Run& run) { return run.number == number; });
    if (found == runs_.end()) return;
    const Run run = *found;
    runs_.erase(found);
    if (TaskSharer* sharer = node_.sharer(); sharer != nullptr) sharer->end(number);
    worker::Finished finished;
    finished.job = run.job;
    finished.outcome = outcome;
    ++run.truth->completions;
    if (outcome == wire::Outcome::Succeeded && run.truth->failing && run.truth->completions == 1)
        finished.outcome = wire::Outcome::Failed;
    if (finished.outcome == wire::Outcome::Succeeded) {
        std::uint64_t value = 0;
        if (run.job->body.size() == sizeof value)
            std::memcpy(&value, run.job->body.data(), sizeof value);
        value = value * 3 + 7;
        finished.body =
            worker::SmallBody{{reinterpret_cast<const std::byte*>(&value), sizeof value}};
    } else {
        wire::ErrorInfo error;
        error.code = finished.outcome == wire::Outcome::Cancelled ? wire::Code::TaskCancelled
                                                                  : wire::Code::TaskThrew;
        finished.body = worker::SmallBody{base::ByteView{wire::pack_error(error)}};
    }
    begin_next();
    node_.finished(std::move(finished), world_.clock.now() - run.since);
}

bool ModelHands::take_back(worker::Job& job) {
    return std::erase(waiting_, &job) != 0;
}

void ModelHands::request_stop(worker::Job& job) {
    const auto found =
        std::find_if(runs_.begin(), runs_.end(), [&](const Run& run) { return run.job == &job; });
    if (found == runs_.end() || found->truth->poison || world_.random.chance(0.3))
        return;  // Some code never looks at its stop token.
    world_.clock.after(milliseconds{3},
                       [this, number = found->number, life = node_.life(), node = &node_] {
                           if (node->life() == life && node->alive())
                               end(number, wire::Outcome::Cancelled);
                       });
}

void ModelHands::rekey(worker::Job& job, std::uint64_t lease) {
    job.lease = lease;
    for (Run& run : runs_) {
        if (run.job == &job) run.lease = lease;
    }
}

void ModelHands::running(std::vector<worker::Running>& out) {
    for (const Run& run : runs_) out.push_back({run.job, run.since});
}

std::vector<std::uint64_t> ModelHands::leases() const {
    std::vector<std::uint64_t> leases;
    for (const Run& run : runs_) leases.push_back(run.lease);
    return leases;
}

void ModelHands::abandon() {
    for (const Run& run : runs_) ++run.truth->deaths;
    runs_.clear();
    waiting_.clear();
}

void WorkerNode::start() {
    ++birth_;
    ++life_;
    frozen_until_ = {};
    batch_.clear();
    turn_due_ = dialing_ = false;
    armed_ = base::kNever;
    const std::size_t threads = 1 + slot_ % 2;
    hands_ = std::make_unique<ModelHands>(world_, *this, threads);
    worker::CoreConfig config;
    config.seed = world_.random.bits();
    config.hello.role = wire::Role::Worker;
    config.hello.session = {world_.random.bits(), world_.random.bits()};
    config.hello.stream = world_.random.bits();
    config.hello.host = "sim";
    config.hello.host_key = "host";
    config.hello.pool = "default";
    config.hello.queues = {"default"};
    config.hello.slot = slot_;
    config.hello.birth = birth_;
    config.hello.threads = static_cast<std::uint32_t>(threads);
    config.hello.offers = {{"sim.task", "u64(u64)"}};
    const auto resolve = [](std::string_view, std::string_view) {
        worker::Found found;
        static const detail::TaskEntry entry{"sim.task", "u64(u64)", nullptr, nullptr, nullptr};
        found.entry = &entry;
        return found;
    };
    last_heard_ = world_.clock.now();
    sharer_.reset();
    if (world_.scenario.sharers > 0)
        sharer_ = std::make_unique<TaskSharer>(
            world_,
            [this] { turn_soon(); },
            [this] {
                const Time now = world_.clock.now();
                return frozen_until_ <= now && now - last_heard_ < kTrust;
            });
    core_ = std::make_unique<worker::WorkerCore>(
        config, *hands_, resolve, sharer_.get(), sharer_.get(), world_.clock.now());
    core_->set_objects(sharer_.get());
    world_.broker().notice(birth_notice());
    supervisor::Notice ready = birth_notice();
    ready.verb = supervisor::Verb::Ready;
    world_.broker().notice(ready);
    connect();
}

supervisor::Notice WorkerNode::birth_notice() const {
    supervisor::Notice notice;
    notice.verb = supervisor::Verb::Born;
    notice.slot = slot_;
    notice.generation = birth_;
    notice.pid = static_cast<std::int32_t>(slot_ * 1000 + birth_);
    return notice;
}

void WorkerNode::when_awake(std::function<void()> act) {
    if (frozen_until_ <= world_.clock.now()) return act();
    world_.clock.at(frozen_until_, [this, life = life_, act = std::move(act)] {
        if (life == life_ && alive()) act();
    });
}

void WorkerNode::connect() {
    if (!alive() || conn_ != 0) return;
    const std::uint64_t life = life_;
    End end;
    end.on_message = [this, life](std::uint64_t conn, base::Message message) {
        if (life != life_ || conn != conn_) return;
        when_awake([this, conn, message = std::move(message)] {
            if (conn != conn_) return;
            if (sharer_ != nullptr && world_.clock.now() - last_heard_ >= kTrust)
                sharer_->distrust();
            last_heard_ = world_.clock.now();
            worker::WorkerOut out;
            core_->on_message(message, world_.clock.now(), out);
            send(out);
            turn_soon();
        });
    };
    end.on_disconnected = [this, life](std::uint64_t conn) {
        if (life != life_ || conn != conn_) return;
        when_awake([this, conn] {
            if (conn != conn_) return;
            conn_ = 0;
            core_->on_disconnected(world_.clock.now());
            connect();
        });
    };
    conn_ = world_.broker().accept(std::move(end));
    world_.network.say("worker " + std::to_string(slot_) + " connects, conn " +
                       std::to_string(conn_));
    if (conn_ == 0) {
        if (std::exchange(dialing_, true)) return;
        world_.clock.after(world_.random.between(milliseconds{10}, milliseconds{100}),
                           [this, life] {
                               if (life != life_) return;
                               dialing_ = false;
                               when_awake([this] { connect(); });
                           });
        return;
    }
    worker::WorkerOut out;
    core_->on_connected(world_.clock.now(), out);
    send(out);
    turn_soon();
}

void WorkerNode::send(worker::WorkerOut& out) {
    for (const base::Message& message : out.messages) {
        if (conn_ != 0) world_.network.send(conn_, true, message);
    }
    if (out.disconnect && conn_ != 0) {
        world_.network.cut(std::exchange(conn_, 0), false, true);
        core_->on_disconnected(world_.clock.now());
        connect();
    }
}

void WorkerNode::finished(worker::Finished finished, Duration busy) {
    batch_.list.push_back(std::move(finished));
    batch_.busy += busy;
    turn_soon();
}

void WorkerNode::turn_soon() {
    if (std::exchange(turn_due_, true)) return;
    world_.clock.after(world_.random.between(microseconds{0}, microseconds{200}),
                       [this, life = life_] {
                           if (life != life_ || !alive()) return;
                           when_awake([this] { turn(); });
                       });
}

void WorkerNode::turn() {
    turn_due_ = false;
    worker::WorkerOut out;
    if (!batch_.list.empty()) {
        core_->on_finished(batch_, world_.clock.now());
        batch_.clear();
    }
    if (core_->next_timer() <= world_.clock.now()) core_->tick(world_.clock.now(), out);
    core_->pump(world_.clock.now(), out);
    send(out);
    if (world_.random.chance(0.02)) {
        const std::string broken = core_->check_invariants();
        if (!broken.empty()) world_.violate("worker: " + broken);
    }
    if (core_->done()) return end(supervisor::Cause::Recycle, true);
    if (!core_->rejected().empty()) return end(supervisor::Cause::Exit, true);
    arm();
}

void WorkerNode::arm() {
    const Time next = core_->next_timer();
    if (next == base::kNever || (armed_ <= next && armed_ > world_.clock.now())) return;
    armed_ = std::max(next, world_.clock.now() + microseconds{50});
    world_.clock.at(armed_, [this, life = life_, at = armed_] {
        if (life != life_ || armed_ != at || !alive()) return;
        armed_ = base::kNever;
        when_awake([this] { turn(); });
    });
}

void WorkerNode::die(supervisor::Cause cause) {
    if (alive()) end(cause, false);
}

void WorkerNode::pause(Time until) {
    if (!alive()) return;
    frozen_until_ = std::max(frozen_until_, until);
    world_.network.say("worker " + std::to_string(slot_) + " freezes");
    world_.excuse_reruns();
    // What it was handed meanwhile was taken from it meanwhile, too, and it begins all the same.
    world_.clock.at(until, [this, since = world_.clock.now()] { world_.excuse_reruns(since); });
}

void WorkerNode::end(supervisor::Cause cause, bool expected) {
    world_.network.say("worker " + std::to_string(slot_) + " ends");
    world_.excuse_reruns();
    supervisor::Notice notice = birth_notice();
    notice.verb = supervisor::Verb::Died;
    notice.cause = cause;
    notice.detail = expected ? 0 : 9;
    const std::vector<std::uint64_t> leases = hands_->leases();
    notice.lease_count =
        static_cast<std::uint32_t>(std::min(leases.size(), supervisor::kLeasesInNotice));
    std::copy_n(leases.begin(), notice.lease_count, notice.leases.begin());
    hands_->abandon();
    core_.reset();
    sharer_.reset();
    ++life_;
    if (conn_ != 0) world_.network.cut(std::exchange(conn_, 0), false, true);
    world_.clock.after(world_.random.between(microseconds{50}, milliseconds{2}),
                       [this, notice] { world_.broker().notice(notice); });
    world_.clock.after(world_.random.between(milliseconds{5}, milliseconds{200}), [this] {
        if (!alive()) start();
    });
}

}  // namespace sim
