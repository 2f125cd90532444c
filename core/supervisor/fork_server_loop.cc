// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/fork_server_loop.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <unordered_map>

#include "core/supervisor/fd_hygiene.h"
#include "core/supervisor/last_will.h"
#include "core/supervisor/reaper.h"
#include "core/supervisor/spawn.h"

namespace forkmill::supervisor {

namespace {

/// A living worker.
struct Worker {
    std::uint16_t pool = 0;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    Spawned process;
    Channel channel;
    std::shared_ptr<Scoreboard> board;
    Cause doom = Cause::Unknown;
    bool killed_by_us = false;
    bool of_program = false;  ///< In no pool.
    OwnedFd sentinel;         ///< Then: closed after the death was reported.
};

/// Descriptors that orders in flight, and what a birth opens for a moment, can count on.
constexpr std::size_t kSpareFds = 32;
constexpr std::size_t kFdsOfWorker = 3;

class ForkLoop {
  public:
    ForkLoop(Channel program,
             pid_t pid,
             OwnedFd program_pid,
             ForkServer::Options options,
             std::vector<int> inherited)
        : program_(std::move(program)),
          pid_(pid),
          program_pid_(std::move(program_pid)),
          options_(std::move(options)),
          inherited_(std::move(inherited)) {}

    /// Until the program is gone.
    void run();

  private:
    bool wait();
    void take_orders();
    void spawn(Packet packet);
    void refuse(const Notice& order, const base::Failure& why);
    std::shared_ptr<Scoreboard> board_of(OwnedFd fd);
    bool has_room() const;
    void kill(const Notice& order);
    void signal(const Notice& order);
    void pass_on(const Notice& order);
    void read_worker(Worker& worker);
    void reap();
    Notice death_of(Worker& worker, const ChildEvent& death);
    void end_all();
    void report(const Notice& notice) { program_.post(notice); }
    Worker* find(const Notice& order);

    Channel program_;
    const pid_t pid_;  ///< The program's.
    OwnedFd program_pid_;
    ForkServer::Options options_;
    std::vector<int> inherited_;  ///< What a worker keeps of the program's.
    OwnedFd signals_;
    OomWatch oom_;
    std::unordered_map<pid_t, Worker> workers_;
    std::vector<std::weak_ptr<Scoreboard>> boards_;
    std::vector<pollfd> polled_;
};

Notice notice_of(Verb verb, const Worker& worker) {
    Notice notice;
    notice.verb = verb;
    notice.pool = worker.pool;
    notice.slot = worker.slot;
    notice.pid = worker.process.pid;
    notice.generation = worker.generation;
    return notice;
}

void ForkLoop::run() {
    sigset_t child;
    ::sigemptyset(&child);
    ::sigaddset(&child, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &child, nullptr);
    signals_ = OwnedFd{::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK)};
    while (wait()) {
        take_orders();
        reap();
        program_.flush();
    }
    end_all();
}

/// False when the program is gone: its end of the channel is closed, or it is dead while somebody
/// it forked still holds that end.
bool ForkLoop::wait() {
    const auto program_events =
        static_cast<short>(program_.has_backlog() ? POLLIN | POLLOUT : POLLIN);
    polled_.clear();
    polled_.push_back({program_pid_.get(), POLLIN, 0});
    polled_.push_back({program_.fd(), program_events, 0});
    polled_.push_back({signals_.get(), POLLIN, 0});
    std::vector<Worker*> order;
    for (auto& [pid, worker] : workers_) {
        if (worker.channel.closed()) continue;
        const auto events =
            static_cast<short>(worker.channel.has_backlog() ? POLLIN | POLLOUT : POLLIN);
        polled_.push_back({worker.channel.fd(), events, 0});
        order.push_back(&worker);
    }
    while (::poll(polled_.data(), polled_.size(), -1) < 0 && errno == EINTR) {
    }
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) > 0) {
    }
    for (std::size_t i = 0; i < order.size(); ++i)
        if (polled_[i + 3].revents != 0) read_worker(*order[i]);
    return polled_[0].revents == 0 && !program_.closed();
}

void ForkLoop::take_orders() {
    while (std::optional<Packet> packet = program_.receive()) {
        switch (packet->notice.verb) {
            case Verb::Spawn:
                spawn(std::move(*packet));
                break;
            case Verb::Kill:
                kill(packet->notice);
                break;
            case Verb::Signal:
                signal(packet->notice);
                break;
            case Verb::Drain:
            case Verb::Stop:
                pass_on(packet->notice);
                break;
            default:
                break;
        }
    }
}

void ForkLoop::refuse(const Notice& order, const base::Failure& why) {
    Notice notice = order;
    notice.verb = Verb::Died;
    notice.pid = 0;
    notice.detail = why.error_number;
    notice.set_text(why.text);
    report(notice);
}

void ForkLoop::spawn(Packet packet) {
    const Notice& order = packet.notice;
    const bool has_board = order.detail == kSpawnHasScoreboard && packet.fds.size() > 1;
    if (packet.fds.empty()) return refuse(order, {"an order without a socket", EINVAL});
    if (!has_room()) return refuse(order, {"the fork server has no descriptors left", EMFILE});
    base::Result<std::array<Channel, 2>> channel = Channel::pair();
    if (!channel) return refuse(order, channel.failure());

    Worker worker;
    worker.pool = order.pool;
    worker.slot = order.slot;
    worker.generation = order.generation;
    worker.channel = std::move(channel.value()[0]);
    if (has_board) worker.board = board_of(std::move(packet.fds[1]));
    worker.of_program = order.detail == kSpawnProcess;
    Birth birth;
    birth.program = pid_;
    birth.pool = order.pool;
    birth.slot = order.slot;
    birth.generation = order.generation;
    if (worker.of_program)
        worker.sentinel = std::move(packet.fds[0]);
    else
        birth.socket_fd = packet.fds[0].get();
    birth.channel_fd = channel.value()[1].fd();
    if (worker.board && order.slot < worker.board->slots()) {
        worker.board->reset(order.slot, 0, order.generation);
        birth.cells = &worker.board->cells(order.slot);
    }
    for (std::size_t i = has_board ? 2 : 1; i < packet.fds.size(); ++i)
        birth.extra_fds.push_back(packet.fds[i].get());

    std::vector<int> keep = inherited_;
    keep.push_back(birth.socket_fd);
    keep.push_back(birth.channel_fd);
    keep.insert(keep.end(), birth.extra_fds.begin(), birth.extra_fds.end());
    base::Result<Spawned> child = fork_child(keep, [&]() -> int {
        // ^C at the terminal is the program's to answer (P41).
        ::signal(SIGINT, SIG_IGN);
        take_group_along();
        if (birth.cells != nullptr) birth.cells->pid = static_cast<std::uint32_t>(::getpid());
        leave_forked(worker.of_program ? options_.process(birth) : options_.worker(birth));
    });
    if (!child) return refuse(order, child.failure());
    worker.process = std::move(child).value();
    report(notice_of(Verb::Born, worker));
    workers_.emplace(worker.process.pid, std::move(worker));
}

/// A packet whose descriptors find no room would end the channel, and everybody with it.
bool ForkLoop::has_room() const {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return true;
    const std::size_t used =
        inherited_.size() + boards_.size() + (workers_.size() + 1) * kFdsOfWorker;
    return used + kSpareFds <= limit.rlim_cur;
}

/// The mapping of this memfd; all workers of a pool share one.
std::shared_ptr<Scoreboard> ForkLoop::board_of(OwnedFd fd) {
    struct stat wanted {};
    if (::fstat(fd.get(), &wanted) != 0) return nullptr;
    std::erase_if(boards_, [](const std::weak_ptr<Scoreboard>& board) { return board.expired(); });
    for (const std::weak_ptr<Scoreboard>& known : boards_) {
        struct stat status {};
        std::shared_ptr<Scoreboard> board = known.lock();
        if (::fstat(board->fd(), &status) == 0 && status.st_ino == wanted.st_ino &&
            status.st_dev == wanted.st_dev)
            return board;
    }
    base::Result<Scoreboard> board = Scoreboard::attach(std::move(fd));
    if (!board) return nullptr;
    auto shared = std::make_shared<Scoreboard>(std::move(board).value());
    boards_.push_back(shared);
    return shared;
}

Worker* ForkLoop::find(const Notice& order) {
    const auto found = workers_.find(order.pid);
    if (found == workers_.end()) return nullptr;
    Worker& worker = found->second;
    return worker.pool == order.pool && worker.slot == order.slot ? &worker : nullptr;
}

void ForkLoop::kill(const Notice& order) {
    Worker* worker = find(order);
    if (worker == nullptr) return;
    worker->doom = order.cause;
    worker->killed_by_us = true;
    kill_group(worker->process.pid);
}

/// By number: a worker that is in the table is not reaped, so the number is its own.
void ForkLoop::signal(const Notice& order) {
    if (const Worker* worker = find(order)) send_signal(worker->process.pid, order.detail);
}

void ForkLoop::pass_on(const Notice& order) {
    Worker* worker = find(order);
    if (worker == nullptr) return;
    if (worker->doom == Cause::Unknown) worker->doom = Cause::Drain;
    worker->channel.post(order);
}

void ForkLoop::read_worker(Worker& worker) {
    while (const std::optional<Packet> packet = worker.channel.receive()) {
        Notice notice = notice_of(packet->notice.verb, worker);
        switch (packet->notice.verb) {
            case Verb::Up:
                notice.verb = Verb::Ready;
                break;
            case Verb::Recycle:
                if (worker.doom == Cause::Unknown) worker.doom = Cause::Recycle;
                break;
            case Verb::Failed:
                notice.set_text(packet->notice.text_view());
                break;
            default:
                continue;
        }
        report(notice);
    }
    worker.channel.flush();
}

void ForkLoop::reap() {
    const auto is_worker = [&](pid_t pid) { return workers_.contains(pid); };
    while (const std::optional<ChildEvent> event = next_child_event(is_worker)) {
        const auto found = workers_.find(event->pid);
        if (found == workers_.end()) continue;  // An orphan of a worker.
        if (event->is_death()) {
            const Notice notice = death_of(found->second, *event);
            const OwnedFd sentinel = std::move(found->second.sentinel);
            workers_.erase(found);
            report(notice);
        } else if (!found->second.of_program) {
            const bool stopped = event->kind == ChildEvent::Kind::Stopped;
            report(notice_of(stopped ? Verb::Stopped : Verb::Continued, found->second));
        }
    }
}

Notice ForkLoop::death_of(Worker& worker, const ChildEvent& death) {
    read_worker(worker);
    const bool signaled = death.kind == ChildEvent::Kind::Signaled;
    const bool ours = signaled && worker.killed_by_us && death.detail == SIGKILL;
    const bool oom = signaled && death.detail == SIGKILL && !ours && oom_.has_struck();
    Notice notice = notice_of(Verb::Died, worker);
    notice.detail = death.detail;
    notice.rss_peak = death.rss_peak;
    notice.core_dumped = death.core_dumped ? 1 : 0;
    if (worker.board && worker.slot < worker.board->slots()) {
        const std::vector<std::uint64_t> leases = worker.board->running_leases(worker.slot);
        notice.lease_count = static_cast<std::uint32_t>(std::min(leases.size(), kLeasesInNotice));
        std::copy_n(leases.begin(), notice.lease_count, notice.leases.begin());
        const bool leaving = worker.board->cells(worker.slot).leaving != 0;
        if (worker.doom == Cause::Unknown && leaving) worker.doom = Cause::Recycle;
    }
    notice.cause = cause_of(death, worker.doom, ours, oom);
    return notice;
}

/// Kills and reaps all workers. One that cannot be killed is left to init: nobody waits for it.
void ForkLoop::end_all() {
    for (auto& [pid, worker] : workers_) kill_group(pid);
    const base::Time until = base::monotonic_now() + std::chrono::milliseconds{900};
    for (;;) {
        reap();
        if (workers_.empty() || base::monotonic_now() >= until) return;
        pollfd wake{signals_.get(), POLLIN, 0};
        ::poll(&wake, 1, 50);
        signalfd_siginfo info;
        while (::read(signals_.get(), &info, sizeof info) > 0) {
        }
    }
}

/// Signals meant for the program and sent to everybody (a service manager's TERM) leave the fork
/// server alone: the program decides when its workers end.
void ignore_operator_signals() {
    for (const int signo : {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2})
        ::signal(signo, SIG_IGN);
}

}  // namespace

void leave_forked(int exit_code) {
    flush_output();
    end_group();
    ::_exit(exit_code);
}

void serve_forks(pid_t program, Channel channel, ForkServer::Options options) noexcept {
    ::setpgid(0, 0);
    ::prctl(PR_SET_NAME, "forkmill-forks");
    // Not PDEATHSIG: that would fire when the program's *thread* ends.
    OwnedFd program_pid{static_cast<int>(::syscall(SYS_pidfd_open, program, 0U))};
    if (::getppid() != program || !program_pid) ::_exit(0);
    reset_signals();
    ignore_operator_signals();
    become_subreaper();
    std::vector<int> keep = options.keep_fds;
    keep.push_back(channel.fd());
    keep.push_back(program_pid.get());
    std::vector<int> inherited = detach_inherited_fds(keep);
    std::erase(inherited, channel.fd());
    std::erase(inherited, program_pid.get());
    ForkLoop loop{std::move(channel),
                  program,
                  std::move(program_pid),
                  std::move(options),
                  std::move(inherited)};
    loop.run();
    ::_exit(0);
}

}  // namespace forkmill::supervisor
