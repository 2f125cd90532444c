// SPDX-License-Identifier: Apache-2.0
// A worker's birth from a pool's fork server, against what it is made of: one fork of the same
// process. `resident_mib` is what its initializer left in memory, in `huge` pages or not; a fork
// server has them where the kernel allows it (worker_birth.h).
//
// forked: order, two forks, adoption, Born (birth_server.h). fork: fork, exit and wait of a child
// that does nothing. The figure that counts is the ratio; below 5 ms at 200 MiB is what pools with
// `start: forkserver` promise.
#include <benchmark/benchmark.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "core/supervisor/birth_server.h"
#include "core/supervisor/reaper.h"
#include "core/supervisor/spawn.h"

namespace {

using namespace forkmill::supervisor;

class Memory {
  public:
    Memory(std::int64_t mib, bool huge)
        : size_(static_cast<std::size_t>(mib) << 20),
          start_(
              ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
        if (huge) ::madvise(start_, size_, MADV_HUGEPAGE);
        std::memset(start_, 1, size_);
    }
    ~Memory() { ::munmap(start_, size_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

  private:
    std::size_t size_;
    void* start_;
};

void sizes(benchmark::internal::Benchmark* benchmark) {
    benchmark->ArgNames({"resident_mib", "huge"});
    benchmark->Args({10, 0})->Args({200, 0})->Args({200, 1});
    benchmark->Unit(benchmark::kMicrosecond)->UseRealTime();
}

Notice next_notice(Channel& channel) {
    for (;;) {
        if (auto packet = channel.receive()) return packet->notice;
        if (channel.closed()) std::abort();
        pollfd wanted{channel.fd(), POLLIN, 0};
        ::poll(&wanted, 1, -1);
    }
}

void forked(benchmark::State& state) {
    become_subreaper();
    auto channels = Channel::pair();
    Channel theirs = std::move(channels.value()[1]);
    auto server = fork_child({STDERR_FILENO, theirs.fd()}, [&] {
        const Memory memory{state.range(0), state.range(1) != 0};
        theirs.post({.verb = Verb::Up});
        serve_births(theirs, [](const NewBorn&) { return 0; });
        return 0;
    });
    Channel& ours = channels.value()[0];
    theirs = {};
    next_notice(ours);
    for (auto round : state) {
        static_cast<void>(round);
        auto ends = Channel::pair();
        const std::array<int, 2> fds{ends.value()[1].fd(), STDERR_FILENO};
        ours.post({.verb = Verb::Spawn}, fds);
        ends.value()[1] = {};
        const Notice born = next_notice(ends.value()[0]);
        state.PauseTiming();
        ends.value()[0].post({.verb = Verb::Born});
        ::waitpid(born.pid, nullptr, 0);
        state.ResumeTiming();
    }
    ours.post({.verb = Verb::Stop});
    ::waitpid(server.value().pid, nullptr, 0);
}
BENCHMARK(forked)->Apply(sizes);

void bare_fork(benchmark::State& state) {
    const Memory memory{state.range(0), state.range(1) != 0};
    for (auto round : state) {
        static_cast<void>(round);
        const pid_t child = ::fork();
        if (child == 0) ::_exit(0);
        ::waitpid(child, nullptr, 0);
    }
}
BENCHMARK(bare_fork)->Apply(sizes);

}  // namespace

BENCHMARK_MAIN();
