// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/control.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <sstream>

namespace forkmill::supervisor {

namespace {

bool address_of(const std::string& path, sockaddr_un& address) {
    address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return false;
    std::memcpy(address.sun_path, path.c_str(), path.size());
    return true;
}

base::Failure no_answer() {
    return {"the master does not answer", ETIMEDOUT};
}

bool limit_sends(int fd, base::Duration limit) {
    // 0 would be no limit at all.
    const auto microseconds =
        std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::microseconds>(limit).count());
    const timeval time{microseconds / 1'000'000, microseconds % 1'000'000};
    return ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time) == 0;
}

bool may_ask(int fd) {
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
    return who.uid == 0 || who.uid == ::geteuid();
}

}  // namespace

base::Result<Control> Control::open(const std::string& path) {
    sockaddr_un address;
    if (!address_of(path, address)) return base::Failure{path + " is too long for a socket"};
    OwnedFd fd{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) return base::system_failure("cannot make a socket");
    ::unlink(path.c_str());
    ::fchmod(fd.get(), 0600);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(fd.get(), static_cast<int>(kAskersMax)) != 0)
        return base::system_failure("cannot listen on " + path);
    return Control{path, std::move(fd)};
}

Control::~Control() {
    if (listener_) ::unlink(path_.c_str());
}

std::optional<Control::Asker> Control::accept() {
    for (;;) {
        OwnedFd fd{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        if (!fd) return std::nullopt;
        if (!may_ask(fd.get())) continue;
        if (askers_.size() >= kAskersMax) askers_.erase(askers_.begin());
        // Watched::slot carries 20 bits, and 0 is the listener.
        do next_ = next_ % 0xffffe + 1;
        while (askers_.contains(next_));
        const std::uint32_t number = next_;
        const int raw = fd.get();
        askers_.emplace(number, std::move(fd));
        return Asker{number, raw};
    }
}

std::optional<std::vector<std::string>> Control::request(std::uint32_t number) {
    const auto asker = askers_.find(number);
    if (asker == askers_.end()) return std::nullopt;
    std::string text(kRequestMax, '\0');
    const ssize_t size = ::recv(asker->second.get(), text.data(), text.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
    if (size <= 0) {
        askers_.erase(asker);
        return std::nullopt;
    }
    std::istringstream words{text.substr(0, static_cast<std::size_t>(size))};
    std::vector<std::string> request;
    for (std::string word; words >> word;) request.push_back(word);
    return request;
}

void Control::answer(std::uint32_t number, bool good, std::string_view text) {
    const auto asker = askers_.find(number);
    if (asker == askers_.end()) return;
    std::string packet = good ? "ok\n" : "no\n";
    packet += text.substr(0, kAnswerMax - packet.size());
    // Whoever does not take an answer of this size at once does not want it.
    static_cast<void>(
        ::send(asker->second.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
    askers_.erase(asker);
}

int Control::fd_of(std::uint32_t number) const {
    const auto asker = askers_.find(number);
    return asker == askers_.end() ? -1 : asker->second.get();
}

base::Result<MasterAnswer> ask_master(const std::string& state_dir,
                                      std::string_view request,
                                      base::Duration limit) {
    sockaddr_un address;
    if (!address_of(control_path(state_dir), address))
        return base::Failure{control_path(state_dir) + " is too long for a socket"};
    const OwnedFd fd{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
    if (!fd) return base::system_failure("cannot make a socket");
    const base::Time until = base::monotonic_now() + limit;
    // A master that accepts nobody has a full backlog, in which connect() waits.
    if (!limit_sends(fd.get(), limit)) return base::system_failure("cannot limit a socket");
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        if (errno == EAGAIN) return no_answer();
        return base::system_failure("nothing runs in " + state_dir);
    }
    if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size()))
        return base::system_failure("cannot ask the master");
    for (;;) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(until - base::monotonic_now()).count();
        pollfd readable{fd.get(), POLLIN, 0};
        const int ready = left <= 0 ? 0 : ::poll(&readable, 1, static_cast<int>(left));
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return no_answer();
        std::string text(Control::kAnswerMax, '\0');
        const ssize_t size = ::recv(fd.get(), text.data(), text.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 3) return base::Failure{"the master went away", ECONNRESET};
        text.resize(static_cast<std::size_t>(size));
        return MasterAnswer{text.starts_with("ok\n"), text.substr(3)};
    }
}

}  // namespace forkmill::supervisor
