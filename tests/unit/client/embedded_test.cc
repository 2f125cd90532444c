// SPDX-License-Identifier: Apache-2.0
// The embedded backend on real processes, below the templates: entries by code address, bodies as
// bytes.
#include "sdk/local/embedded.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "core/base/identity.h"
#include "core/wire/codec.h"
#include "forkmill/errors.h"
#include "forkmill/pool.h"
#include "forkmill/queue.h"
#include "sdk/local/host_limits.h"
#include "sdk/src/group.h"
#include "tests/support/wait_until.h"
#include "worker/embedded.h"

namespace forkmill::detail {
namespace {

using namespace std::chrono_literals;

void echo(const void*, const Arguments& arguments, Buffer& result) {
    result.assign(arguments.body.begin(), arguments.body.end());
}
void pid_of(const void*, const Arguments&, Buffer& result) {
    const pid_t pid = ::getpid();
    result.resize(sizeof pid);
    std::memcpy(result.data(), &pid, sizeof pid);
}
void nap(const void*, const Arguments&, Buffer& result) {
    ::poll(nullptr, 0, 100);  // What this task is for.
    result.clear();
}
void hang(const void*, const Arguments&, Buffer&) {
    for (;;) ::pause();
}
void crash(const void*, const Arguments&, Buffer&) {
    ::raise(SIGSEGV);
}
/// Shared with every worker.
std::atomic<int>& births() {
    static auto* count = static_cast<std::atomic<int>*>(::mmap(nullptr,
                                                               sizeof(std::atomic<int>),
                                                               PROT_READ | PROT_WRITE,
                                                               MAP_SHARED | MAP_ANONYMOUS,
                                                               -1,
                                                               0));
    return *count;
}
void bad_start(const void*, const Arguments&, Buffer&) {
    ++births();
    throw std::runtime_error{"no licence"};
}

constexpr std::array<std::pair<const char*, Thunk>, 5> kTasks{
    {{"echo", echo}, {"pid_of", pid_of}, {"nap", nap}, {"hang", hang}, {"crash", crash}}};

std::uint32_t template_of(std::string_view name, TaskOptions options = {}) {
    return intern_template(name, "bytes", options);
}

struct Pool {
    explicit Pool(std::uint32_t workers, local::Plan plan = {}) {
        auto host = local::ForkHost::get();
        auto wakeup = std::make_shared<net::Wakeup>();
        client = std::make_shared<Client>(
            nullptr, base::random_number(), false, [wakeup] { wakeup->notify(); });
        plan.host_key = "test";
        plan.pool = "pool";
        std::vector<TaskEntry> entries;
        for (const auto& [name, thunk] : kTasks)
            entries.push_back(
                {name, "bytes", nullptr, thunk, reinterpret_cast<const void*>(thunk)});
        plan.tasks = worker::pack_task_entries(entries);
        client->set_backend(
            std::make_shared<local::Embedded>(*client, host, std::move(plan), workers, wakeup));
    }
    ~Pool() { client->destroy(); }

    Ticket submit(std::string_view task, std::string_view body = {}) {
        return client->submit(template_of(task), base::bytes_of(body), nullptr);
    }
    SettledView get(Ticket ticket, Duration limit = 20s) {
        EXPECT_TRUE(client->wait_slot(ticket.slot, limit));
        return PendingTable::view(client->table().of(ticket));
    }
    std::string text(Ticket ticket) { return std::string{base::text_of(get(ticket).body)}; }
    wire::ErrorInfo error(Ticket ticket) {
        const SettledView view = get(ticket);
        EXPECT_NE(view.outcome, 0);
        const auto info = wire::unpack_error(view.body);
        return info.ok() ? info.value() : wire::ErrorInfo{};
    }
    pid_t pid(Ticket ticket) {
        pid_t pid = 0;
        const SettledView view = get(ticket);
        if (view.body.size() == sizeof pid) std::memcpy(&pid, view.body.data(), sizeof pid);
        return pid;
    }
    std::vector<pid_t> pids() {
        std::vector<pid_t> list;
        for (const WorkerInfo& info : workers_of(*client))
            list.push_back(static_cast<pid_t>(info.pid));
        return list;
    }
    void expect_alive() {
        std::vector<Ticket> tickets;
        for (int i = 0; i < 100; ++i) tickets.push_back(submit("echo", std::to_string(i)));
        for (int i = 0; i < 100; ++i) {
            EXPECT_EQ(text(tickets[static_cast<std::size_t>(i)]), std::to_string(i));
            drop(*client, tickets[static_cast<std::size_t>(i)]);
        }
    }

    ClientPtr client;
};

bool is_gone(pid_t pid) {
    return ::kill(pid, 0) != 0 && errno == ESRCH;
}

TEST(Embedded, RunsTasksInOtherProcesses) {
    Pool pool{3};
    const std::vector<pid_t> pids = pool.pids();
    EXPECT_EQ(std::set<pid_t>(pids.begin(), pids.end()).size(), 3U);
    const pid_t ran = pool.pid(pool.submit("pid_of"));
    EXPECT_NE(ran, ::getpid());
    EXPECT_TRUE(std::count(pids.begin(), pids.end(), ran) == 1);
    pool.expect_alive();
}

TEST(Embedded, CarriesBodiesOfEverySize) {
    Pool pool{2};
    for (const std::size_t size : {0UL,
                                   1UL,
                                   56UL,
                                   57UL,
                                   4095UL,
                                   4096UL,
                                   70'000UL,
                                   1'048'576UL,
                                   1'048'577UL,
                                   5'000'000UL,
                                   33'000'000UL}) {
        std::string body(size, '\0');
        for (std::size_t i = 0; i < size; ++i) body[i] = static_cast<char>(i * 31 + i / 251);
        const Ticket ticket = pool.submit("echo", body);
        EXPECT_TRUE(pool.text(ticket) == body) << size;
        drop(*pool.client, ticket);
    }
}

TEST(Embedded, HostsSharedObjects) {
    Pool pool{1};
    forkmill::Pool borrowed{pool.client};
    Queue<std::string> queue{borrowed, {.maxsize = 2}};
    const std::string large(8'000'000, 'x');
    queue.put(large);
    EXPECT_EQ(queue.get(), large);
    EXPECT_THROW(queue.get_for(1ms), QueueEmpty) << "deadlines wake the broker";
    pool.expect_alive();
}

TEST(Embedded, FinishesWhatWasSubmittedAfterClose) {
    Pool pool{2};
    std::vector<Ticket> tickets;
    for (int i = 0; i < 1000; ++i) tickets.push_back(pool.submit("echo", std::to_string(i)));
    const std::vector<pid_t> pids = pool.pids();
    pool.client->close();
    EXPECT_THROW(pool.submit("echo"), UsageError);
    EXPECT_TRUE(pool.client->join(10s));
    for (std::size_t i = 0; i < tickets.size(); ++i)
        EXPECT_EQ(pool.text(tickets[i]), std::to_string(i));
    for (const pid_t pid : pids) EXPECT_TRUE(is_gone(pid));
}

TEST(Embedded, EndsTenThousandQueuedTasksInTwoSecondsLeavingNoProcess) {
    Pool pool{2};
    std::vector<Ticket> tickets;
    for (int i = 0; i < 10'000; ++i) tickets.push_back(pool.submit("nap"));
    const std::vector<pid_t> pids = pool.pids();
    const base::Time begin = base::monotonic_now();
    pool.client->terminate();
    EXPECT_TRUE(pool.client->join(10s));
    EXPECT_LT(base::monotonic_now() - begin, 2s);
    for (const Ticket ticket : tickets) {
        ASSERT_TRUE(PendingTable::settled(pool.client->table().of(ticket)));
    }
    EXPECT_EQ(pool.error(tickets.back()).code, wire::Code::TaskCancelled);
    for (const pid_t pid : pids) EXPECT_TRUE(is_gone(pid));
}

TEST(Embedded, EndsAWorkerThatWillNotListen) {
    std::vector<pid_t> pids;
    const base::Time begin = base::monotonic_now();
    {
        Pool pool{1};
        pids = pool.pids();
        pool.submit("hang");
        EXPECT_TRUE(test::wait_until([&] { return pool.client->table().unsettled() == 1; }, 5s));
    }
    EXPECT_LT(base::monotonic_now() - begin, 3s);
    for (const pid_t pid : pids) EXPECT_TRUE(is_gone(pid));
}

TEST(Embedded, NamesTheCauseOfATaskThatKillsItsWorkersAndStaysAlive) {
    Pool pool{2};
    const wire::ErrorInfo info = pool.error(pool.submit("crash"));
    EXPECT_EQ(info.code, wire::Code::WorkerLost);
    EXPECT_EQ(info.cause, "signal");
    EXPECT_EQ(info.number, SIGSEGV);
    pool.expect_alive();
}

TEST(Embedded, RunsATaskAgainWhoseWorkerWasKilled) {
    Pool pool{2};
    const Ticket ticket = pool.submit("nap");
    const std::vector<pid_t> pids = pool.pids();
    for (const pid_t pid : pids) ::kill(pid, SIGKILL);
    EXPECT_EQ(pool.get(ticket).outcome, 0);
    pool.expect_alive();
}

TEST(Embedded, RecyclesWorkersAfterTheirShareOfTasks) {
    local::Plan plan;
    plan.max_tasks_per_child = 10;
    Pool pool{3, plan};
    std::vector<Ticket> tickets;
    for (int i = 0; i < 100; ++i) tickets.push_back(pool.submit("pid_of"));
    std::map<pid_t, int> ran;
    for (const Ticket ticket : tickets) ++ran[pool.pid(ticket)];
    EXPECT_GE(ran.size(), 10U);
    for (const auto& [pid, count] : ran) EXPECT_LE(count, 10) << pid;
}

TEST(Embedded, JoinsThoughEveryTaskCostsAWorker) {
    local::Plan plan;
    plan.max_tasks_per_child = 1;
    Pool pool{2, plan};
    std::vector<Ticket> tickets;
    for (int i = 0; i < 20; ++i) tickets.push_back(pool.submit("echo", std::to_string(i)));
    pool.client->close();
    EXPECT_TRUE(pool.client->join(30s));
    for (std::size_t i = 0; i < tickets.size(); ++i)
        EXPECT_EQ(pool.text(tickets[i]), std::to_string(i));
}

TEST(Embedded, IsBrokenByAnInitializerThatThrowsAfterOneBirthPerWorker) {
    local::Plan plan;
    plan.initializer_thunk = bad_start;
    births() = 0;
    Pool pool{3, plan};
    const wire::ErrorInfo info = pool.error(pool.submit("echo", "x"));
    EXPECT_EQ(info.code, wire::Code::PoolBroken);
    EXPECT_NE(info.what.find("no licence"), std::string::npos) << info.what;
    EXPECT_EQ(pool.error(pool.submit("echo", "y")).code, wire::Code::PoolBroken);
    pool.client->close();
    EXPECT_TRUE(pool.client->join(5s));
    EXPECT_LE(births(), 3);
}

TEST(Embedded, KeepsTwoPoolsApart) {
    Pool first{1};
    Pool second{1};
    EXPECT_NE(first.pids(), second.pids());
    const Ticket slow = first.submit("nap");
    EXPECT_EQ(second.text(second.submit("echo", "quick")), "quick");
    EXPECT_EQ(first.get(slow).outcome, 0);
    first.client->terminate();
    EXPECT_TRUE(first.client->join(5s));
    second.expect_alive();
}

TEST(Embedded, FailsEverythingWhenItsForkServerIsKilled) {
    Pool pool{2};
    const Ticket ticket = pool.submit("hang");
    ::kill(local::ForkHost::get()->pid(), SIGKILL);
    EXPECT_EQ(pool.error(ticket).code, wire::Code::PoolBroken);
    pool.client->terminate();
    EXPECT_TRUE(pool.client->join(5s));
}

TEST(Embedded, RefusesToBeUsedInAForkedChild) {
    Pool pool{1};
    pool.expect_alive();
    const pid_t child = ::fork();
    if (child == 0) {
        int code = 1;
        try {
            pool.submit("echo", "x");
        } catch (const ForkedContextError&) {
            code = 0;
        }
        pool.client->destroy();
        pool.client.reset();
        ::_exit(code);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    pool.expect_alive();
}

TEST(Embedded, LeavesNothingBehindWhenItsProgramIsKilled) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t program = ::fork();
    if (program == 0) {
        Pool pool{2};
        pool.submit("hang");
        std::vector<pid_t> pids = pool.pids();
        pids.push_back(local::ForkHost::get()->pid());
        const ssize_t wrote = ::write(pipe_fds[1], pids.data(), pids.size() * sizeof(pid_t));
        static_cast<void>(wrote);
        for (;;) ::pause();
    }
    pid_t pids[3] = {};
    ASSERT_EQ(::read(pipe_fds[0], pids, sizeof pids), static_cast<ssize_t>(sizeof pids));
    ::kill(program, SIGKILL);
    ::waitpid(program, nullptr, 0);
    const auto ended = [](pid_t pid) {
        // Nobody may reap them here; a zombie has ended too.
        std::FILE* file = std::fopen(("/proc/" + std::to_string(pid) + "/stat").c_str(), "r");
        if (file == nullptr) return true;
        char state = '?';
        const int got = std::fscanf(file, "%*d (%*[^)]) %c", &state);
        std::fclose(file);
        return got == 1 && state == 'Z';
    };
    EXPECT_TRUE(
        test::wait_until([&] { return ended(pids[0]) && ended(pids[1]) && ended(pids[2]); }, 1s));
    ::close(pipe_fds[0]);
    ::close(pipe_fds[1]);
}

TEST(Embedded, CancelsWaitingAndKillsRunningTasks) {
    Pool pool{1};
    const Ticket running = pool.submit("hang");
    const Ticket waiting = pool.submit("echo", "x");
    cancel(*pool.client, waiting, false);
    EXPECT_EQ(pool.error(waiting).code, wire::Code::TaskCancelled);
    cancel(*pool.client, running, true);
    EXPECT_EQ(pool.error(running).code, wire::Code::TaskCancelled);
    pool.expect_alive();
}

TEST(Embedded, RefusesATaskThatTheSnapshotDoesNotKnow) {
    Pool pool{1};
    pool.expect_alive();
    const Ticket ticket = pool.client->submit(template_of("bound later"), {}, nullptr);
    EXPECT_EQ(pool.error(ticket).code, wire::Code::NotInSnapshot);
}

TEST(Embedded, GivesGroupItemsInOrderOfCompletionAndByIndex) {
    Pool pool{2};
    GroupPtr group = group_begin(pool.client, template_of("echo"), 1000);
    for (int i = 0; i < 1000; ++i) group_submit(*group, base::bytes_of(std::to_string(i)), nullptr);
    group_flush(*group);
    std::set<std::size_t> seen;
    while (seen.size() < 1000) {
        const std::optional<std::size_t> index = group_next(*group, 20s);
        ASSERT_TRUE(index.has_value());
        EXPECT_TRUE(seen.insert(*index).second);
        EXPECT_EQ(base::text_of(group_view(*group, *index).body), std::to_string(*index));
        group_release(*group, *index);
    }
    EXPECT_TRUE(group_wait_all(*group, 1s));
    group.reset();
    EXPECT_EQ(pool.client->table().claimed_slots(), 0U);
}

TEST(Embedded, MakesAndEndsPoolsOneAfterAnotherWithoutLeaks) {
    const auto open_fds = [] {
        int count = 0;
        for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) != -1;
        return count;
    };
    { Pool warm{1}; }
    const int before = open_fds();
    for (int i = 0; i < 30; ++i) {
        Pool pool{2};
        EXPECT_EQ(pool.text(pool.submit("echo", "x")), "x");
    }
    EXPECT_EQ(open_fds(), before);
}

TEST(HostLimits, ReadsAQuotaRoundedUp) {
    EXPECT_EQ(local::cpus_of_quota("150000 100000"), 2U);
    EXPECT_EQ(local::cpus_of_quota("100000 100000"), 1U);
    EXPECT_EQ(local::cpus_of_quota("max 100000"), 0U);
    EXPECT_EQ(local::cpus_of_quota(""), 0U);
    EXPECT_GE(local::usable_cpus(), 1U);
    EXPECT_GE(local::broker_memory(), 1U << 20);
}

}  // namespace
}  // namespace forkmill::detail
