// SPDX-License-Identifier: Apache-2.0
#include "core/net/listen.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace forkmill::net {

namespace {

using base::Failure;
using base::Result;
using base::Status;

Failure failed(const std::string& what, int error) {
    return Failure{what + ": " + std::strerror(error), error};
}

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), std::min(path.size(), kSocketPathMax));
    return address;
}

/// Makes the directory of a socket, or sees that no stranger can replace files in it.
Status prepare_directory(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const std::string dir = slash == std::string::npos ? "."
                            : slash == 0               ? "/"
                                                       : path.substr(0, slash);
    if (::mkdir(dir.c_str(), 0700) == 0) return base::Done{};
    if (errno != EEXIST) return failed("cannot make the directory " + dir, errno);
    struct stat info {};
    if (::stat(dir.c_str(), &info) != 0) return failed("cannot look at " + dir, errno);
    if (!S_ISDIR(info.st_mode)) return Failure{dir + " is no directory"};
    if ((info.st_mode & S_IWOTH) != 0 && (info.st_mode & S_ISVTX) == 0)
        return Failure{"anybody may replace files in " + dir + "; expected mode 0700"};
    return base::Done{};
}

/// The lock outlives crashes as a file and ends with its holder as a lock: so it cannot be stale.
Result<UniqueFd> take_lock(const std::string& path) {
    const std::string name = path + ".lock";
    UniqueFd lock{::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!lock) return failed("cannot open " + name, errno);
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
    if (errno == EWOULDBLOCK)
        return Failure{"another process serves " + path + " (it holds " + name + ")", EADDRINUSE};
    return failed("cannot lock " + name, errno);
}

/// Whether whoever serves there is gone within `patience`: its end closes what we connect.
bool outlives(const UniqueFd& connected, base::Duration patience) {
    pollfd ended{connected.get(), POLLRDHUP, 0};
    const auto limit = std::chrono::ceil<std::chrono::milliseconds>(patience).count();
    return ::poll(&ended, 1, static_cast<int>(limit)) > 0;
}

/// Clears away what a dead process left; refuses to touch anything that answers or is no socket.
Status clear_path(const std::string& path, base::Duration patience) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0)
        return errno == ENOENT ? Status{base::Done{}}
                               : Status{failed("cannot look at " + path, errno)};
    if (!S_ISSOCK(info.st_mode)) return Failure{path + " exists and is no socket", EEXIST};
    UniqueFd probe{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!probe) return failed("cannot make a socket", errno);
    const sockaddr_un address = address_of(path);
    const int rc =
        ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    if (rc == 0 && patience > base::Duration{} && outlives(probe, patience))
        return clear_path(path, {});
    // EAGAIN is a full backlog: somebody listens, however busy.
    if (rc == 0 || errno == EAGAIN || errno == EINPROGRESS)
        return Failure{"another process serves " + path, EADDRINUSE};
    if (errno != ECONNREFUSED) return failed("cannot tell whether " + path + " is in use", errno);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        return failed("cannot remove the stale " + path, errno);
    return base::Done{};
}

Result<Listener> listen_on_path(const Endpoint& endpoint, int backlog, base::Duration patience) {
    if (Status ready = prepare_directory(endpoint.path); !ready.ok()) return ready.failure();
    Result<UniqueFd> lock = take_lock(endpoint.path);
    if (!lock.ok()) return lock.failure();
    if (Status clear = clear_path(endpoint.path, patience); !clear.ok()) return clear.failure();
    UniqueFd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) return failed("cannot make a socket", errno);
    // Linux takes the file's mode from the socket's inode: so it is never wider, and umask, which
    // belongs to all threads, stays as it is.
    if (::fchmod(fd.get(), 0600) != 0)
        return failed("cannot set the mode of " + endpoint.path, errno);
    const sockaddr_un address = address_of(endpoint.path);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return failed("cannot bind " + endpoint.path, errno);
    if (::listen(fd.get(), backlog) != 0) return failed("cannot listen on " + endpoint.path, errno);
    return Listener{std::move(fd), std::move(lock).value(), endpoint};
}

std::uint16_t bound_port(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
    if (address.ss_family == AF_INET)
        return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
}

Result<UniqueFd> bind_tcp(const addrinfo& address, int backlog) {
    UniqueFd fd{
        ::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP)};
    if (!fd) return failed("cannot make a socket", errno);
    const int on = 1;
    const int off = 0;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.ai_family == AF_INET6)
        ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0)
        return failed("cannot bind", errno);
    if (::listen(fd.get(), backlog) != 0) return failed("cannot listen", errno);
    return fd;
}

/// Whether the address gets free within `patience`. Of `*`, which nobody connects to, this host's.
bool gets_free(const addrinfo& address, base::Duration patience) {
    UniqueFd probe{
        ::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP)};
    if (!probe || patience <= base::Duration{}) return false;
    ::connect(probe.get(), address.ai_addr, address.ai_addrlen);
    return outlives(probe, patience);
}

Result<Listener> listen_on_tcp(const Endpoint& endpoint, int backlog, base::Duration patience) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    const bool all = endpoint.host == "*";
    addrinfo* found = nullptr;
    const int rc = ::getaddrinfo(all ? nullptr : endpoint.host.c_str(),
                                 std::to_string(endpoint.port).c_str(),
                                 &hints,
                                 &found);
    if (rc != 0) return Failure{"cannot resolve " + endpoint.host + ": " + ::gai_strerror(rc)};
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> guard{found, ::freeaddrinfo};
    // One dual-stack socket serves `*`; a host without IPv6 falls back to what there is.
    Failure last{"no address"};
    for (const int family : {all ? AF_INET6 : AF_UNSPEC, AF_UNSPEC}) {
        for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
            if (family != AF_UNSPEC && address->ai_family != family) continue;
            Result<UniqueFd> fd = bind_tcp(*address, backlog);
            if (!fd.ok() && fd.failure().error_number == EADDRINUSE &&
                gets_free(*address, patience))
                fd = bind_tcp(*address, backlog);
            if (fd.ok()) {
                Endpoint bound = endpoint;
                bound.port = bound_port(fd.value().get());
                return Listener{std::move(fd).value(), UniqueFd{}, bound};
            }
            last = fd.failure();
        }
    }
    return Failure{to_string(endpoint) + ": " + last.text, last.error_number};
}

}  // namespace

Result<Listener> listen_socket(const Endpoint& endpoint, int backlog, base::Duration patience) {
    switch (endpoint.scheme) {
        case Scheme::Local:
            break;
        case Scheme::Ipc:
        case Scheme::Unix:
            return listen_on_path(endpoint, backlog, patience);
        case Scheme::Tcp:
            return listen_on_tcp(endpoint, backlog, patience);
    }
    return Failure{"an embedded pool does not listen"};
}

void remove_socket_file(const Listener& listener) {
    if (listener.lock && !listener.endpoint.path.empty()) ::unlink(listener.endpoint.path.c_str());
}

Status check_listening_fd(int fd) {
    int listening = 0;
    socklen_t size = sizeof listening;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0)
        return failed("fd " + std::to_string(fd) + " is no socket", errno);
    if (listening == 0) return Failure{"fd " + std::to_string(fd) + " does not listen"};
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_NONBLOCK) == 0)
        return Failure{"fd " + std::to_string(fd) + " is blocking: a shared accept would hang"};
    return base::Done{};
}

Status reserve_fds(std::size_t wanted) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return failed("cannot read RLIMIT_NOFILE", errno);
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
            return failed("cannot raise RLIMIT_NOFILE", errno);
    }
    if (limit.rlim_max < wanted)
        return Failure{
            "the limit of open files (" + std::to_string(limit.rlim_max) + ") is below the " +
            std::to_string(wanted) +
            " that the configured connections need; raise it (ulimit -Hn, LimitNOFILE=)"};
    return base::Done{};
}

Result<std::pair<UniqueFd, UniqueFd>> local_socket_pair() {
    int fds[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
        return failed("cannot make a socket pair", errno);
    return std::pair{UniqueFd{fds[0]}, UniqueFd{fds[1]}};
}

}  // namespace forkmill::net
