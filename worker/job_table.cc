// SPDX-License-Identifier: Apache-2.0
#include "worker/job_table.h"

#include "core/base/check.h"

namespace forkmill::worker {

Job* JobTable::make() {
    if (live_ >= kJobsMax) return nullptr;
    if (free_.empty()) free_.push_back(&slots_.emplace_back());
    Job* job = free_.back();
    free_.pop_back();
    ++live_;
    job->state = JobState::Held;
    return job;
}

void JobTable::free(Job& job) {
    FORKMILL_CHECK(job.state != JobState::Free);
    job.owner = {};
    job.extras.reset();
    job.tmpl = nullptr;
    job.lease = 0;
    job.state = JobState::Free;
    job.adopting = job.started_told = job.running_told = job.blocked = job.stop_asked =
        job.slow_told = false;
    free_.push_back(&job);
    --live_;
}

Job* JobTable::find(std::uint64_t lease) {
    for (Job& job : slots_) {
        if (job.state != JobState::Free && !job.adopting && job.lease == lease) return &job;
    }
    return nullptr;
}

}  // namespace forkmill::worker
