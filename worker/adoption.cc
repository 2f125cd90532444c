// SPDX-License-Identifier: Apache-2.0
#include "worker/adoption.h"

#include <algorithm>

#include "core/wire/limits.h"

namespace forkmill::worker {

void Adoption::add(std::uint64_t lease, Awaiting what) {
    if (what.job != nullptr) what.job->adopting = true;
    if (told_.contains(lease)) {
        deferred_.emplace_back(lease, std::move(what));
        return;
    }
    told_.emplace(lease, std::move(what));
    untold_.push_back(lease);
}

wire::HeldTask Adoption::describe(std::uint64_t lease, const Awaiting& what) {
    wire::HeldTask told;
    told.lease = lease;
    if (what.job != nullptr) {
        told.task = what.job->task;
        told.attempt = what.job->attempt;
        told.crashes = what.job->crashes;
        told.state = what.job->running_told ? wire::HeldState::Running : wire::HeldState::Waiting;
    } else {
        told.task = what.result->task;
        told.attempt = what.result->attempt;
        told.crashes = what.result->crashes;
        told.state = wire::HeldState::Done;
    }
    return told;
}

std::vector<wire::Held> Adoption::tell(bool always) {
    std::vector<wire::Held> messages;
    wire::Held held;
    held.last = false;
    for (const std::uint64_t lease : untold_) {
        auto known = told_.find(lease);
        if (known == told_.end()) continue;  // It ended before it was told.
        if (held.tasks.size() == wire::kRecordsMax)
            messages.push_back(std::exchange(held, wire::Held{{}, false}));
        held.tasks.push_back(describe(lease, known->second));
    }
    untold_.clear();
    if (!held.tasks.empty() || (always && messages.empty())) messages.push_back(std::move(held));
    if (!messages.empty()) messages.back().last = true;
    return messages;
}

std::optional<Awaiting> Adoption::take(std::uint64_t lease) {
    auto known = told_.find(lease);
    if (known == told_.end()) return std::nullopt;
    Awaiting what = std::move(known->second);
    told_.erase(known);
    if (what.job != nullptr) what.job->adopting = false;
    auto next = std::find_if(deferred_.begin(), deferred_.end(), [&](const auto& entry) {
        return entry.first == lease;
    });
    if (next != deferred_.end()) {
        told_.emplace(lease, std::move(next->second));
        untold_.push_back(lease);
        deferred_.erase(next);
    }
    return what;
}

Awaiting* Adoption::find(const Job& job) {
    auto known = told_.find(job.lease);
    if (known != told_.end() && known->second.job == &job) return &known->second;
    for (auto& [lease, what] : deferred_) {
        if (what.job == &job) return &what;
    }
    return nullptr;
}

void Adoption::finish(const Job& job, std::unique_ptr<Result> result) {
    if (Awaiting* what = find(job)) *what = Awaiting{nullptr, std::move(result)};
}

void Adoption::forget(const Job& job) {
    std::erase_if(deferred_, [&](const auto& entry) { return entry.second.job == &job; });
    auto known = told_.find(job.lease);
    if (known != told_.end() && known->second.job == &job) static_cast<void>(take(job.lease));
}

std::vector<Result> Adoption::take_results() {
    std::vector<Result> results;
    for (auto& [lease, what] : told_) {
        if (what.result) results.push_back(std::move(*what.result));
        if (what.job != nullptr) what.job->adopting = false;
    }
    for (auto& [lease, what] : deferred_) {
        if (what.result) results.push_back(std::move(*what.result));
        if (what.job != nullptr) what.job->adopting = false;
    }
    told_.clear();
    deferred_.clear();
    untold_.clear();
    // The same order in every run: a simulation must replay.
    std::sort(results.begin(), results.end(), [](const Result& a, const Result& b) {
        return a.task < b.task || (a.task == b.task && a.lease < b.lease);
    });
    return results;
}

}  // namespace forkmill::worker
