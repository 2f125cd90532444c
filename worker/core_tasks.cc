// SPDX-License-Identifier: Apache-2.0
// Leases: taken, given to the hands, watched, cancelled, returned and adopted.
#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/check.h"
#include "worker/worker_core.h"

namespace forkmill::worker {

namespace {

constexpr base::Duration kCheckAtMost = std::chrono::milliseconds{5};

base::Duration nanos(std::uint64_t count) {
    constexpr auto kMax = static_cast<std::uint64_t>(base::Duration::max().count()) / 4;
    return base::Duration{static_cast<std::int64_t>(std::min(count, kMax))};
}

base::Blob join(const std::vector<base::Blob>& chunks, std::size_t size) {
    base::Blob whole = base::Blob::allocate(size);
    std::byte* at = whole.mutable_data();
    for (const base::Blob& chunk : chunks) {
        if (!chunk.empty()) std::memcpy(at, chunk.data(), chunk.size());
        at += chunk.size();
    }
    return whole;
}

}  // namespace

wire::Code WorkerCore::on_template(wire::Cursor& cursor) {
    auto known = std::make_unique<Template>();
    const wire::Code code = wire::decode(cursor, known->def);
    if (code != wire::Code::None) return code;
    if (templates_.size() >= kTemplatesMax) return wire::Code::TooManyTemplates;
    known->found = resolve_(known->def.name, known->def.signature);
    for (const std::uint64_t limit : {known->def.soft_timeout_ns, known->def.timeout_ns}) {
        if (limit != 0)
            check_every_ = std::max(kCheckAtMost, std::min(check_every_, nanos(limit / 4)));
    }
    const std::uint32_t id = known->def.id;
    templates_.try_emplace(id, std::move(known));
    return wire::Code::None;
}

wire::Code WorkerCore::on_tasks(wire::Cursor& cursor, const base::Message& message) {
    wire::TasksReader reader{cursor, message};
    wire::TaskRecord record;
    wire::Code code = reader.code();
    while (code == wire::Code::None && reader.next(record)) code = take_lease(record, message);
    start_given();
    return code;
}

/// A body in one piece, with what keeps it alive.
base::Result<WorkerCore::Whole> WorkerCore::whole(const wire::BodyRef& ref,
                                                  const base::Message& message) {
    if (ref.transfer == 0)
        return Whole{ref.body.view, ref.body.blob.empty() ? message.control : ref.body.blob};
    base::Result<base::Body> taken = transfers_.take(ref.transfer, ref.size);
    if (!taken) return taken.failure();
    const base::Body& body = taken.value();
    if (!body.chunks) return Whole{body.view, body.blob};
    const base::Blob joined = join(*body.chunks, body.size());
    return Whole{joined.view(), joined};
}

wire::Code WorkerCore::take_lease(const wire::TaskRecord& record, const base::Message& message) {
    base::Result<Whole> body = whole(record.body, message);
    if (!body) return wire::Code::UnknownTransfer;
    std::unique_ptr<JobExtras> extras;
    if (record.extras != nullptr || !record.dependencies.empty()) {
        extras = std::make_unique<JobExtras>();
        if (record.extras != nullptr) {
            extras->deadline = record.extras->deadline;
            extras->trace = record.extras->trace;
            extras->parent = record.extras->parent;
        }
        for (const wire::TaskRecord::Dependency& dependency : record.dependencies) {
            base::Result<Whole> value = whole(dependency.body, message);
            if (!value) return wire::Code::UnknownTransfer;
            extras->dependencies.emplace_back(dependency.argument, value.value().view);
            extras->owners.push_back(value.value().owner);
        }
    }
    auto known = templates_.find(record.template_id);
    if (known == templates_.end()) return wire::Code::NoSuchTemplate;
    Job* job = leaving_ == Leaving::No ? jobs_.make() : nullptr;
    if (job == nullptr) {
        returns_.push_back(record.lease);
        return wire::Code::None;
    }
    job->task = record.task;
    job->attempt = record.attempt;
    job->crashes = record.crashes;
    job->lease = record.lease;
    job->tmpl = known->second.get();
    job->body = body.value().view;
    job->owner = body.value().owner;
    job->extras = std::move(extras);
    const Refusal& refusal = job->tmpl->found.refusal;
    if (job->tmpl->found.entry == nullptr) {
        wire::ErrorInfo info;
        info.code = refusal.code;
        info.what = refusal.text;
        info.ran = wire::Ran::No;
        finish_with_error(*job, wire::Outcome::Failed, std::move(info));
        jobs_.free(*job);
    } else if (may_begin()) {
        give(*job);
    } else {
        held_.push_back(job);
    }
    return wire::Code::None;
}

bool WorkerCore::may_begin() const {
    return results_.count() < kKeptResultsMax && results_.bytes() < kKeptBytesMax;
}

void WorkerCore::give(Job& job) {
    job.state = JobState::Given;
    given_.push_back(&job);
}

void WorkerCore::start_given() {
    if (given_.empty()) return;
    hands_.start(given_);
    given_.clear();
}

/// True: the job had not begun, and nobody will.
bool WorkerCore::take_back(Job& job) {
    if (job.state == JobState::Held) {
        std::erase(held_, &job);
        return true;
    }
    return job.state == JobState::Given && hands_.take_back(job);
}

void WorkerCore::cancel(const wire::CancelLease& cancel, base::Time now) {
    Job* job = jobs_.find(cancel.lease);
    if (job == nullptr || job->state == JobState::Abandoned) return;
    if (take_back(*job)) {
        wire::ErrorInfo info;
        info.code = wire::Code::TaskCancelled;
        info.what = "cancelled before it began";
        info.ran = wire::Ran::No;
        finish_with_error(*job, wire::Outcome::Cancelled, std::move(info));
        jobs_.free(*job);
    } else if (cancel.kill) {
        end_running(*job, wire::Code::TaskCancelled, "cancelled with its worker", now);
    } else if (!job->stop_asked) {
        job->stop_asked = true;
        hands_.request_stop(*job);
    }
}

/// The lease is not ours (any more): what it yields is dropped.
void WorkerCore::disown(std::uint64_t lease) {
    results_.drop(lease);
    Job* job = jobs_.find(lease);
    if (job != nullptr) drop(*job);
}

void WorkerCore::drop(Job& job) {
    if (job.state == JobState::Abandoned) return;
    if (take_back(job)) return jobs_.free(job);
    job.state = JobState::Abandoned;
    hands_.request_stop(job);
}

void WorkerCore::adopt(const wire::Adopt::Mapping& mapping) {
    std::optional<Awaiting> what = adoption_.take(mapping.old_lease);
    if (!what) {
        if (mapping.new_lease != 0) returns_.push_back(mapping.new_lease);
    } else if (what->job != nullptr) {
        if (mapping.new_lease == 0) return drop(*what->job);
        hands_.rekey(*what->job, mapping.new_lease);
        if (what->job->blocked) blocked_.emplace_back(mapping.new_lease, true);
    } else if (mapping.new_lease != 0) {
        what->result->lease = mapping.new_lease;
        results_.push(std::move(*what->result));
    }
}

/// Everything that has not begun goes back to the broker, free of charge.
void WorkerCore::return_waiting() {
    jobs_.each([&](Job& job) {
        if (job.adopting || !take_back(job)) return;
        returns_.push_back(job.lease);
        jobs_.free(job);
    });
}

/// Timeouts, STARTED, and nothing waits behind long tasks.
void WorkerCore::check_running(base::Time now) {
    running_.clear();
    hands_.running(running_);
    check_at_ = now + check_every_;
    std::size_t busy = 0;
    for (const Running& running : running_) {
        Job& job = *running.job;
        check_limits(running, now);
        check_slow(running, now);
        if (now - running.since < wire::kStartedAfter) continue;
        if (!job.blocked) ++busy;
        if (job.started_told || job.adopting || job.state != JobState::Given) continue;
        job.started_told = true;
        started_.push_back(job.lease);
    }
    name_long_tasks(now);
    if (busy >= hello_.threads || !held_.empty()) return_waiting();
    if (jobs_.live() == 0) {
        check_at_ = base::kNever;
        retired_.clear();
    }
}

/// The oldest by its name, the others by their number.
void WorkerCore::name_long_tasks(base::Time now) {
    const Running* oldest = nullptr;
    std::size_t others = 0;
    for (const Running& running : running_) {
        if (now - running.since < kNamedAfter) continue;
        if (oldest != nullptr) ++others;
        if (oldest == nullptr || running.since < oldest->since) oldest = &running;
    }
    long_tasks_.clear();
    if (oldest == nullptr) return;
    long_tasks_ = oldest->job->tmpl->def.name;
    if (others != 0) long_tasks_ += " and " + std::to_string(others) + " more";
}

/// In the words of a log line.
std::string WorkerCore::about(const Running& running, base::Time now) const {
    const auto run = std::chrono::duration_cast<std::chrono::milliseconds>(now - running.since);
    return "task " + running.job->tmpl->def.name + ", attempt " +
           std::to_string(running.job->attempt) + ", which runs since " +
           std::to_string(run.count()) + " ms";
}

void WorkerCore::check_slow(const Running& running, base::Time now) {
    Job& job = *running.job;
    if (slowlog_timeout_ == base::Duration{} || job.slow_told) return;
    const base::Time slow = running.since + slowlog_timeout_;
    if (now < slow) {
        check_at_ = std::min(check_at_, slow);
        return;
    }
    job.slow_told = true;
    hands_.explain(job, "forkmill: slow " + about(running, now));
}

void WorkerCore::check_limits(const Running& running, base::Time now) {
    Job& job = *running.job;
    if (job.state != JobState::Given) return;
    const wire::TemplateDef& def = job.tmpl->def;
    if (def.soft_timeout_ns != 0 && !job.stop_asked) {
        const base::Time soft = running.since + nanos(def.soft_timeout_ns);
        if (now >= soft) {
            job.stop_asked = true;
            hands_.request_stop(job);
        } else {
            check_at_ = std::min(check_at_, soft);
        }
    }
    if (def.timeout_ns == 0) return;
    const base::Time hard = running.since + nanos(def.timeout_ns);
    if (now < hard) {
        check_at_ = std::min(check_at_, hard);
        return;
    }
    hands_.explain(job, "forkmill: timeout of " + about(running, now));
    end_running(
        job,
        wire::Code::TaskTimeout,
        "it ran longer than its timeout of " + std::to_string(def.timeout_ns / 1'000'000) + " ms",
        now);
}

/// The outcome is told at once; the code that goes on running goes down with this process.
void WorkerCore::end_running(Job& job, wire::Code code, std::string_view text, base::Time now) {
    wire::ErrorInfo info;
    info.code = code;
    info.what = text;
    info.ran = wire::Ran::Yes;
    finish_with_error(
        job,
        code == wire::Code::TaskCancelled ? wire::Outcome::Cancelled : wire::Outcome::Failed,
        std::move(info));
    job.state = JobState::Abandoned;
    leave(Leaving::Kill, {}, now);
}

}  // namespace forkmill::worker
