// SPDX-License-Identifier: Apache-2.0
// Results into frames and their custody; what else is told; leaving.
#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "worker/worker_core.h"

namespace forkmill::worker {

void WorkerCore::finish(Job& job, wire::Outcome outcome, SmallBody body) {
    Result result{job.lease, job.task, job.attempt, job.crashes, outcome, std::move(body)};
    if (job.adopting) {
        adoption_.finish(job, std::make_unique<Result>(std::move(result)));
        job.adopting = false;
    } else {
        results_.push(std::move(result));
    }
}

void WorkerCore::finish_with_error(Job& job, wire::Outcome outcome, wire::ErrorInfo info) {
    info.host = hello_.host;
    info.pid = hello_.pid;
    info.task = job.tmpl->def.name;
    info.attempt = job.attempt;
    finish(job, outcome, SmallBody{base::ByteView{wire::pack_error(info)}});
}

void WorkerCore::on_finished(FinishedBatch& batch, base::Time) {
    for (Finished& finished : batch.list) {
        Job& job = *finished.job;
        if (job.state == JobState::Abandoned) {
            jobs_.free(job);
            continue;
        }
        if (finished.body.size() > payload_max_) {
            wire::ErrorInfo info;
            info.code = wire::Code::ResultTooBig;
            info.what = "the result has " + std::to_string(finished.body.size()) +
                        " bytes; the broker takes " + std::to_string(payload_max_) +
                        " (limits.payload)";
            info.ran = wire::Ran::Yes;
            finish_with_error(job, wire::Outcome::Failed, std::move(info));
        } else {
            finish(job, finished.outcome, std::move(finished.body));
        }
        jobs_.free(job);
    }
    results_.add_busy(batch.busy);
    batch.clear();
}

void WorkerCore::on_blocked(Job& job, bool blocked) {
    job.blocked = blocked;
    if (job.state != JobState::Given || job.adopting) return;
    // A wait that was over before it was told is not told.
    const auto told = std::find(blocked_.begin(), blocked_.end(), std::pair{job.lease, true});
    if (!blocked && told != blocked_.end()) {
        blocked_.erase(told);
    } else {
        blocked_.emplace_back(job.lease, blocked);
    }
}

void WorkerCore::on_partial(Job& job, double fraction, std::string_view note) {
    if (job.state != JobState::Given || job.adopting) return;
    for (wire::Partial& partial : partials_) {
        if (partial.ref != job.lease) continue;
        partial = {job.lease, fraction, std::string{note}};
        return;
    }
    partials_.push_back({job.lease, fraction, std::string{note}});
}

void WorkerCore::write_news() {
    if (!session_.can_send()) return;
    const auto lists = [&](wire::Kind kind, std::vector<std::uint64_t>& leases, auto record) {
        for (std::size_t at = 0; at < leases.size(); at += wire::kRecordsMax) {
            const auto first = leases.begin() + static_cast<std::ptrdiff_t>(at);
            const std::size_t count = std::min(wire::kRecordsMax, leases.size() - at);
            record.leases.assign(first, first + static_cast<std::ptrdiff_t>(count));
            say(kind, record);
        }
        leases.clear();
    };
    for (const wire::Held& held : adoption_.tell(false)) say(wire::Kind::Held, held);
    lists(wire::Kind::Started, started_, wire::Started{});
    for (const auto& [lease, blocked] : blocked_) {
        if (blocked) {
            say(wire::Kind::Blocked, wire::Blocked{lease});
        } else {
            say(wire::Kind::Unblocked, wire::Unblocked{lease});
        }
    }
    blocked_.clear();
    for (const wire::Partial& partial : partials_) say(wire::Kind::Partial, partial);
    partials_.clear();
    if (leaving_ != Leaving::No && !drain_told_) {
        drain_told_ = true;
        say(wire::Kind::Drain, wire::DrainMsg{});
    }
    lists(wire::Kind::Return, returns_, wire::Return{});
}

void WorkerCore::leave(Leaving how, base::Duration limit, base::Time now) {
    const base::Duration patience =
        how == Leaving::Kill ? kKillGrace : (limit == base::Duration{} ? leave_limit_ : limit);
    leave_by_ = std::min(leave_by_, now + patience);
    if (how <= leaving_) return;
    leaving_ = how;
    check_leaving(now);
}

bool WorkerCore::idle() {
    bool any = false;
    jobs_.each([&](Job& job) { any = any || job.state != JobState::Abandoned; });
    return !any && results_.told() && adoption_.empty() && returns_.empty();
}

void WorkerCore::check_leaving(base::Time now) {
    if (leaving_ == Leaving::No || done_) return;
    if (leaving_ >= Leaving::Recycle) return_waiting();
    if (now >= leave_by_) {
        done_ = true;
        return;
    }
    if (!idle()) return;
    if (!welcomed_) {
        // Nobody hears it; it stays only for those whom it owes something.
        done_ = results_.kept() == 0;
        return;
    }
    if (!bye_said_ && session_.can_send()) {
        bye_said_ = true;
        say(wire::Kind::Bye, wire::Bye{"the worker leaves"});
    }
    if (!bye_said_ || !session_.all_acked()) return;
    // The broker has it all; clients that are there get a moment to take what they asked for.
    if (custody_by_ == base::kNever) custody_by_ = now + kCustodyPatience;
    done_ = results_.kept() == 0 || now >= custody_by_;
}

std::string WorkerCore::check_invariants() {
    std::size_t held = 0;
    std::size_t adopting = 0;
    jobs_.each([&](Job& job) {
        held += job.state == JobState::Held ? 1 : 0;
        adopting += job.adopting ? 1 : 0;
    });
    if (held != held_.size()) return "jobs held by the core differ from its line";
    if (adopting > adoption_.size()) return "a job waits for adoption that nobody was told of";
    if (jobs_.live() > kJobsMax) return "more jobs than the bound";
    return results_.check_invariants();
}

}  // namespace forkmill::worker
