// SPDX-License-Identifier: Apache-2.0
// Listening sockets, made by whoever outlives the process that serves them (the master), without
// ZeroMQ.
//
// Invariants: (1) the fd is O_NONBLOCK and CLOEXEC, since two acceptors may share it for a while;
// (2) a socket file has mode 0600 from its first moment and belongs to whoever holds its lock file;
// (3) a path is unlinked only when nobody answers on it. Threading: any thread, one owner.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/net/endpoint.h"
#include "core/net/unique_fd.h"

namespace forkmill::net {

struct Listener {
    UniqueFd fd;
    UniqueFd lock;      ///< flock'ed `path.lock`; empty for Tcp. Keep it as long as the fd.
    Endpoint endpoint;  ///< As bound: the port is known.
};

/// Binds and listens. Fails when another process serves the endpoint and goes on to do so for
/// `patience`, and on `local:`.
base::Result<Listener> listen_socket(const Endpoint& endpoint,
                                     int backlog = 1024,
                                     base::Duration patience = {});
/// Removes the socket file of a listener that ends for good. The lock file stays: removing it
/// would let two processes hold "the" lock.
void remove_socket_file(const Listener& listener);

/// True when fd is a listening, non-blocking socket: what an adopting router insists on.
base::Status check_listening_fd(int fd);

/// Raises RLIMIT_NOFILE to its hard limit and fails if that is below `wanted`: libzmq aborts the
/// process when descriptors run out.
base::Status reserve_fds(std::size_t wanted);

/// A connected pair of local sockets for adopt(): non-blocking, CLOEXEC.
base::Result<std::pair<UniqueFd, UniqueFd>> local_socket_pair();

}  // namespace forkmill::net
