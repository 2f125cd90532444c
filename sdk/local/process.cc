// SPDX-License-Identifier: Apache-2.0
#include "forkmill/process.h"

#include <signal.h>

#include <new>
#include <utility>

#include "forkmill/errors.h"
#include "sdk/local/children.h"
#include "sdk/local/host_limits.h"
#include "sdk/local/self.h"
#include "sdk/src/until.h"

namespace forkmill {
inline namespace v0 {

namespace detail {

TaskEntry entry_of_task(const Tasks& tasks, std::string_view name, const std::string& signature) {
    for (const TaskEntry& entry : task_entries(tasks)) {
        if (entry.name == name && entry.signature == signature) return entry;
    }
    throw UsageError{"ProcessOptions::tasks has no code for the task " + std::string{name} + " " +
                     signature + ": bind() it there"};
}

}  // namespace detail

Process::Process(detail::ProcessPlan plan) : child_(local::Children::make(std::move(plan))) {}
Process::Process(std::shared_ptr<detail::Child> known) : child_(std::move(known)) {}
Process::Process(const Process&) = default;
Process::Process(Process&&) noexcept = default;
Process& Process::operator=(const Process& other) {
    return *this = Process{other};
}
Process& Process::operator=(Process&& other) noexcept {
    std::swap(child_, other.child_);
    return *this;
}

Process::~Process() {
    // In a fork the descriptors are the parent's, or somebody else's by the same numbers.
    if (child_ && child_->context.is_forked_child())
        static_cast<void>(new (std::nothrow) std::shared_ptr<detail::Child>(std::move(child_)));
}

detail::Child& Process::child() const {
    if (!child_) throw UsageError{"this handle was moved from"};
    if (child_->context.is_forked_child())
        throw ForkedContextError{"the process '" + child_->plan.name +
                                 "' belongs to the process that this one was forked from"};
    return *child_;
}

void Process::start() {
    child().home->start(child_);
}
bool Process::join(Duration timeout) {
    return child().home->join(child(), detail::until_of(timeout));
}
void Process::terminate() {
    child().home->signal(child(), SIGTERM);
}
void Process::kill() {
    child().home->signal(child(), SIGKILL);
}
void Process::close() {
    child().home->close(child());
}
const std::string& Process::name() const {
    return child().plan.name;
}
bool Process::daemon() const {
    return child().plan.daemon;
}
std::int32_t Process::pid() const {
    return child().home->pid(child());
}
bool Process::is_alive() const {
    return child().home->is_alive(child());
}
std::optional<int> Process::exit_code() const {
    return child().home->exit_code(child());
}
int Process::sentinel() const {
    return child().home->sentinel(child());
}

std::vector<Process> active_children() {
    std::vector<Process> list;
    for (detail::ChildPtr& child : local::Children::living()) list.emplace_back(std::move(child));
    return list;
}

ProcessInfo current_process() {
    return local::current_info();
}

std::optional<ProcessInfo> parent_process() {
    return local::parent_info();
}

int cpu_count() {
    return static_cast<int>(local::usable_cpus());
}

std::vector<int> wait(const std::vector<Waitable>& objects, Duration timeout) {
    std::vector<int> fds;
    fds.reserve(objects.size());
    for (const Waitable& object : objects) fds.push_back(object.fd);
    if (fds.empty()) return {};
    return local::wait_readable(fds, detail::until_of(timeout));
}

}  // namespace v0
}  // namespace forkmill
