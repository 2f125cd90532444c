// SPDX-License-Identifier: Apache-2.0
// What a fork of a user's program does with the descriptors it inherited.
//
// Threading: the process's only thread.
#pragma once

#include <vector>

namespace forkmill::supervisor {

/// Puts /dev/null in the place of every descriptor above 2 that could pin somebody (sockets, pipes,
/// epoll, …) and is not in `keep`: the peer sees its end, and no number changes its meaning.
/// Regular files, directories and devices stay. stdin becomes /dev/null. Returns what is open then.
std::vector<int> detach_inherited_fds(const std::vector<int>& keep);

}  // namespace forkmill::supervisor
