// SPDX-License-Identifier: Apache-2.0
// Cgroups: a control group (v2) for each worker of a master, where it may make some: all that a
// task starts stays in it, whatever session or process group it takes, and dies with its worker.
//
// The master's sub-tree is one directory, named after its state_dir, in a group that was delegated
// to it; a directory in that per birth. Invariants: (1) without a config that names a place,
// nothing is made or killed outside of what the service manager delegated; (2) a group is killed
// and removed only by a path below such a sub-tree; (3) what is left when a worker is reaped is
// tried again until it is gone, and nothing waits for it; (4) no controller is needed, so the
// master may stay in the delegated group itself. Threading: one owner.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/config_reader.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

/// Where a master's sub-tree is, and its name.
struct CgroupSpec {
    std::string place = "off";  ///< auto, off, or the path of a directory.
    std::string name = {};      ///< See cgroup_name().
    bool operator==(const CgroupSpec&) const = default;
};

/// Reads the key `cgroup`.
std::string read_cgroup(base::ConfigSection root);
/// The same for whoever holds the lock of that directory; another for everybody else.
std::string cgroup_name(const std::string& state_dir);

/// The directory of the group that /proc/PID/cgroup names, where /proc/self/mountinfo says that a
/// cgroup2 file system shows it; nullopt: nowhere.
std::optional<std::string> cgroup_directory(std::string_view cgroup, std::string_view mountinfo);
/// As systemd marks it, or given to a user who is not root and has not its parent.
bool is_delegated(const std::string& directory);
/// The delegated group of this process: its own, or the one around it (DelegateSubgroup=).
base::Result<std::string> find_delegated();

/// SIGKILL for all processes in a group and in those below it.
void kill_cgroup(const std::string& directory);
/// The same one by one, for kernels without cgroup.kill (before 5.14).
void kill_members(const std::string& directory);
/// How many of a group's processes the kernel's out-of-memory killer took; nullopt: nobody counts,
/// because the memory controller is not enabled there.
std::optional<std::uint64_t> oom_kills(const std::string& directory);
/// What spawn.h takes; none for an empty path.
OwnedFd open_cgroup(const std::string& directory);

/// A worker that is born.
struct CgroupBirth {
    std::string pool;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    bool outlives_master = false;  ///< The next master lets it finish.
};

class Cgroups {
  public:
    static constexpr std::size_t kGoingMax = 4096;  ///< Beyond it a group is left to its creator.
    /// What SIGKILL ends is gone by then, else it hangs in the kernel.
    static constexpr base::Duration kPatience = std::chrono::seconds{2};

    /// May be called again with another spec: living groups stay where they are.
    void open(const CgroupSpec& spec);
    /// A group for a birth; an empty path: it has none.
    std::string make(const CgroupBirth& birth);
    /// The group in which an earlier program of this master put a worker; an empty path: none.
    std::string find(pid_t worker) const;
    /// What a master of this name left behind ends, and goes: all but what `is_kept`, and workers
    /// that may outlive their master.
    void sweep(const std::function<bool(const std::string&)>& is_kept, base::Time now);
    /// Its worker is gone: so are all others in it, and the directory.
    void retire(const std::string& directory, base::Time now);
    /// Tries again what is due.
    void settle(base::Time now);
    base::Time next_try() const;
    /// Whether the master may end: nothing is on its way out that is worth waiting for.
    bool settled() const;
    /// The end: removes the sub-tree, if it is empty.
    void close();

  private:
    struct Going {
        std::string directory;
        base::Time since{};
        base::Time at{};        ///< Of the next try.
        base::Duration wait{};  ///< Before the one after that.
        bool kills = true;      ///< What is in it is not to finish.
        bool hopeless = false;  ///< Was told of.
    };
    void leave(const std::string& directory, bool kills, base::Time now);
    bool gone(const Going& group) const;

    CgroupSpec spec_;
    std::string root_;  ///< The sub-tree; empty: none.
    bool told_ = false;
    std::vector<Going> going_;
};

}  // namespace forkmill::supervisor
