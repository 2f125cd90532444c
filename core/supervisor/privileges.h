// SPDX-License-Identifier: Apache-2.0
// Privileges: as whom, and within which limits of the kernel, a child runs its program.
//
// Invariants: (1) names are looked up in the parent, before any fork; assume() makes system calls
// only, so it may run between fork and exec; (2) limits are set before the user changes, groups
// before the user, so nothing is left of the parent's rights. Threading: the process's only thread.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace forkmill::supervisor {

/// A user with its groups, as the system's databases have them.
struct Account {
    std::string name;
    std::string home;
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups;
};

struct AccountFound {
    std::optional<Account> account;
    bool user_known = false;  ///< Else it is the user that is unknown, and not the group.
};
/// By names; an empty `user` is this process's, an empty `group` the user's own. With a group alone
/// no other group is kept.
AccountFound find_account(const std::string& user, const std::string& group);

using Resource = decltype(RLIMIT_CORE);

struct ResourceLimit {
    Resource resource{};
    rlim_t soft = 0;
    rlim_t hard = 0;
};

struct Privileges {
    std::optional<Account> account;  ///< Absent: the parent's.
    std::vector<ResourceLimit> limits;

    /// It runs as a user that does not own what the parent made.
    bool is_foreign() const;
};

/// All of it as a text that changes whenever a worker would be born otherwise.
std::string to_text(const Privileges& privileges);
/// HOME, USER and LOGNAME of the account; empty without one.
std::vector<std::string> environment_of(const Privileges& privileges);

/// In the child. Null, or the name of the call that failed, and errno. Async-signal-safe. A change
/// of the user clears PR_SET_PDEATHSIG: set it after this.
const char* assume(const Privileges& privileges);

/// Lets workers of other users get at their socket and the kept modules in a state_dir: it may be
/// passed, but not listed. Its files keep their modes.
base::Status open_to_users(const std::string& state_dir);

/// The directory on the way to `path` that the account may not pass, judged by mode bits; empty:
/// none.
std::string closed_directory(const Account& account, const std::string& path);

}  // namespace forkmill::supervisor
