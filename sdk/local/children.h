// SPDX-License-Identifier: Apache-2.0
// Children: the forkmill::Process children of this program, through one fork server.
//
// There is no thread behind it: whoever needs to know reads the fork server's reports for all. The
// death of a child wakes its joiners by its sentinel, a socket whose other end the fork server
// closes after it reported the death. Invariants: (1) a running child is in the table, and keeps
// this object and the fork server alive, whatever handles there are; (2) what is waited for under
// `reading_` is an answer of the fork server, never a child's end; (3) at the program's exit
// daemons are ended and the others waited for; (4) at most kChildrenMax run at once, so reports
// that nobody reads fit the channel's backlog. Threading: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/time.h"
#include "core/net/wakeup.h"
#include "core/supervisor/fd.h"
#include "core/supervisor/forked_context.h"
#include "forkmill/process.h"
#include "sdk/local/fork_host.h"

namespace forkmill {
inline namespace v0 {

namespace local {
class Children;
}

namespace detail {

/// One process: made, started, ended.
struct Child {
    enum class State : std::uint8_t { Made, Starting, Running, Ended, Closed };

    std::shared_ptr<local::Children> home;
    ProcessPlan plan;
    supervisor::ForkedContext context;

    // Guarded by its home's mutex.
    State state = State::Made;
    std::uint32_t slot = 0;
    std::int32_t pid = 0;
    int exit_code = 0;
    std::shared_ptr<const supervisor::OwnedFd> sentinel;  ///< Of whoever waits, too.
    std::string refusal;                                  ///< Why it was not born.
};
using ChildPtr = std::shared_ptr<Child>;

}  // namespace detail

namespace local {

class Children {
  public:
    static constexpr std::size_t kChildrenMax = 4096;
    static constexpr base::Duration kDaemonGrace = std::chrono::seconds{1};

    /// A process-to-be of the living fork server, or of a new one. Throws UsageError, Rejected.
    static detail::ChildPtr make(detail::ProcessPlan plan);
    /// All running ones of this program, in order of their start. The dead are reaped.
    static std::vector<detail::ChildPtr> living();
    /// Ends the daemons and waits for the others: a program's last act.
    static void end_all() noexcept;

    explicit Children(std::shared_ptr<ForkHost> host);

    /// As the functions of Process.
    void start(const detail::ChildPtr& child);
    bool join(const detail::Child& child, base::Time until);
    void signal(const detail::Child& child, int signo);
    void close(detail::Child& child);
    std::int32_t pid(const detail::Child& child);
    bool is_alive(const detail::Child& child);
    std::optional<int> exit_code(const detail::Child& child);
    int sentinel(const detail::Child& child);

  private:
    using State = detail::Child::State;
    using Sentinel = std::shared_ptr<const supervisor::OwnedFd>;

    static std::shared_ptr<Children> get();
    void bear(const detail::ChildPtr& child, int sentinel_fd);
    void take_back(const detail::ChildPtr& child);
    supervisor::OwnedFd enter(const detail::ChildPtr& child);
    void leave(const detail::ChildPtr& child, std::string_view refusal);
    State state_of(const detail::Child& child);
    void require_open(const detail::Child& child);
    void require_started(const detail::Child& child);
    bool await_end(const detail::Child& child, base::Time until);
    void send(const detail::Child& child, int signo);
    void settle(const detail::Child& child);
    template <class Done>
    void read_until(Done done);
    void read();
    void apply(const supervisor::Notice& notice);
    void lose_host();
    void end(detail::Child& child, int exit_code);

    const std::shared_ptr<ForkHost> host_;
    net::Wakeup wakeup_;
    Port port_;
    PoolIndex pool_;

    std::mutex reading_;  // Guards notices_; taken before mutex_.
    std::vector<supervisor::Notice> notices_;

    std::mutex mutex_;  // Guards the rest, and what changes in a Child.
    std::map<std::uint32_t, detail::ChildPtr> running_;
    std::uint32_t started_ = 0;
    bool lost_ = false;
};

/// Waits until one of them can be read or has hung up; the descriptors of those, empty at `until`.
/// Throws UsageError for one that is not open.
std::vector<int> wait_readable(const std::vector<int>& fds, base::Time until);

}  // namespace local
}  // namespace v0
}  // namespace forkmill
