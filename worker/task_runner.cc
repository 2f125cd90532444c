// SPDX-License-Identifier: Apache-2.0
#include "worker/task_runner.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <utility>

#include "core/base/log.h"
#include "core/wire/codec.h"
#include "forkmill/detail/context_seam.h"

namespace forkmill::worker {

namespace {

constexpr std::uint32_t kLinesPerSecond = 10;

/// What one task thread has for all its jobs.
struct ThreadState {
    detail::TaskContext task;
    TaskThread* thread = nullptr;
    std::uint64_t stop_epoch = 0;
};

std::optional<std::chrono::system_clock::time_point> wall_time(base::WallNanos nanos) {
    if (nanos == 0) return std::nullopt;
    return std::chrono::system_clock::time_point{
        std::chrono::duration_cast<std::chrono::system_clock::duration>(
            std::chrono::nanoseconds{nanos})};
}

class TaskRunner {
  public:
    TaskRunner(std::string host, detail::ClientPtr nested)
        : host_(std::move(host)), nested_(std::move(nested)), pid_(::getpid()) {}

    wire::Outcome run(TaskThread& thread, detail::Buffer& result) {
        prepare(thread);
        const Job& job = thread.job();
        const detail::TaskEntry& entry = *job.tmpl->found.entry;
        detail::Arguments arguments{job.body, {}};
        if (job.extras) arguments.dependencies = job.extras->dependencies;
        try {
            if (entry.runner) {
                entry.runner->run(arguments, result);
            } else {
                entry.thunk(entry.function, arguments, result);
            }
            return wire::Outcome::Succeeded;
        } catch (...) {
            return fail(job, result, std::current_exception());
        }
    }

  private:
    void prepare(TaskThread& thread) const {
        static thread_local ThreadState state;
        if (state.thread != &thread) install(thread, state);
        const Job& job = thread.job();
        Context& context = state.task.context;
        context.id = {job.task.stream, job.task.seq};
        context.attempt = static_cast<int>(job.attempt);
        // A token costs two counted references: it is copied only when it is another one, or when
        // the code before moved it away.
        if (state.stop_epoch != thread.stop_epoch() || !context.stop.stop_possible()) {
            state.stop_epoch = thread.stop_epoch();
            context.stop = thread.stop_token();
            thread.stop = context.stop;
        }
        thread.id = context.id;
        if (job.extras) {
            context.deadline = wall_time(job.extras->deadline);
            thread.trace = job.extras->trace;
        } else {
            context.deadline.reset();
            thread.trace.clear();
        }
        thread.deadline = context.deadline;
    }

    /// Once per thread: nothing but tasks runs on it, so what is set stays set.
    void install(TaskThread& thread, ThreadState& state) const {
        state.thread = &thread;
        state.stop_epoch = 0;
        state.task.nested = nested_;
        state.task.progress = [&thread](double fraction, std::string_view note) {
            thread.progress(fraction, note);
        };
        detail::set_task_context(&state.task);
        detail::set_task_scope(&thread);
    }

    wire::Outcome fail(const Job& job, detail::Buffer& result, const std::exception_ptr& thrown) {
        detail::PackedException packed = detail::pack_exception(
            thrown, {host_, pid_, job.tmpl->def.name, static_cast<int>(job.attempt)});
        result = std::move(packed.body);
        if (may_log()) {
            const auto info = wire::unpack_error(result);
            if (info)
                base::log_line(base::LogLevel::Info,
                               "task threw",
                               {{"task", job.tmpl->def.name},
                                {"id", base::to_string(job.task)},
                                {"attempt", job.attempt},
                                {"type", info.value().type},
                                {"what", info.value().what}});
        }
        return static_cast<wire::Outcome>(packed.outcome);
    }

    /// A flood of failures must not become a flood of lines.
    bool may_log() {
        if (!base::log_enabled(base::LogLevel::Info)) return false;
        const std::int64_t second =
            base::monotonic_now().time_since_epoch().count() / 1'000'000'000;
        if (log_second_.exchange(second, std::memory_order_relaxed) != second)
            log_lines_.store(0, std::memory_order_relaxed);
        return log_lines_.fetch_add(1, std::memory_order_relaxed) < kLinesPerSecond;
    }

    const std::string host_;
    const detail::ClientPtr nested_;
    const std::int32_t pid_;
    std::atomic<std::int64_t> log_second_{0};
    std::atomic<std::uint32_t> log_lines_{0};
};

}  // namespace

RunJob make_task_runner(std::string host, detail::ClientPtr nested) {
    auto runner = std::make_shared<TaskRunner>(std::move(host), std::move(nested));
    return [runner](TaskThread& thread, detail::Buffer& result) {
        return runner->run(thread, result);
    };
}

std::string describe_exception(const std::exception_ptr& thrown) {
    const detail::PackedException packed = detail::pack_exception(thrown, {{}, ::getpid(), {}, 1});
    const auto info = wire::unpack_error(packed.body);
    if (!info) return "something unknown";
    return info.value().type + ": " + info.value().what;
}

}  // namespace forkmill::worker
