// SPDX-License-Identifier: Apache-2.0
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <random>
#include <utility>

#include "core/base/backoff.h"
#include "core/base/check.h"
#include "core/net/endpoint.h"
#include "core/net/local_link.h"
#include "core/net/local_socket.h"

namespace forkmill::net {

struct LocalClient::Impl {
    Impl(std::string socket_path, LocalClientOptions opts)
        : options(opts),
          path(std::move(socket_path)),
          epoll(::epoll_create1(EPOLL_CLOEXEC)),
          buffer(opts.limits.read_buffer),
          next_id(next_transport_prefix()),
          backoff({.first = opts.reconnect_first,
                   .max = opts.reconnect_max,
                   .factor = 2.0,
                   .jitter = 0.5},
                  std::random_device{}()) {
        FORKMILL_CHECK(epoll);
    }

    void enlist(UniqueFd fd);
    void try_connect(base::Time now);
    void retry_later(base::Time now);
    bool finish(Incoming& out, Incoming::Kind kind);
    void drop();

    LocalClientOptions options;
    std::string path;  ///< Empty: adopted, never connected again.
    UniqueFd epoll;
    ReadBuffer buffer;
    SmallBytes small;
    ConnId next_id;
    base::Backoff backoff;
    base::Time try_at = base::kNever;
    std::string last_error;
    std::unique_ptr<LocalLink> link;
    std::deque<Incoming> told;
    bool unread = false;  ///< The buffer holds bytes that were not cut into messages yet.
    bool looked = false;  ///< The socket was read since receive() last said false.
};

void LocalClient::Impl::enlist(UniqueFd fd) {
    link = std::make_unique<LocalLink>(
        std::move(fd), ++next_id, epoll.get(), options.limits, std::string{});
    told.push_back(Incoming{Incoming::Kind::Connected, link->id(), {}, {}});
    last_error.clear();
    try_at = base::kNever;
}

void LocalClient::Impl::retry_later(base::Time now) {
    try_at = path.empty() ? base::kNever : now + backoff.next();
}

void LocalClient::Impl::try_connect(base::Time now) {
    UniqueFd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), std::min(path.size(), kSocketPathMax));
    // A local connect succeeds or fails at once; EAGAIN is a full backlog.
    if (!fd ||
        ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        last_error = path + ": " + std::strerror(errno);
        retry_later(now);
        return;
    }
    enlist(std::move(fd));
}

void LocalClient::Impl::drop() {
    link.reset();
    unread = false;
    retry_later(base::monotonic_now());
}

bool LocalClient::Impl::finish(Incoming& out, Incoming::Kind kind) {
    last_error = link->reason();
    out = Incoming{kind, link->id(), {}, last_error};
    drop();
    return true;
}

LocalClient::LocalClient(std::string path, LocalClientOptions options)
    : impl_(std::make_unique<Impl>(std::move(path), options)) {
    impl_->try_at = base::Time::min();
}

LocalClient::LocalClient(UniqueFd connected, LocalClientOptions options)
    : impl_(std::make_unique<Impl>(std::string{}, options)) {
    impl_->enlist(std::move(connected));
}

LocalClient::~LocalClient() = default;

int LocalClient::fd() const {
    return impl_->epoll.get();
}

bool LocalClient::pending() {
    return !impl_->told.empty() || impl_->unread ||
           (impl_->link == nullptr && impl_->try_at == base::Time::min());
}

bool LocalClient::receive(Incoming& out) {
    Impl& self = *impl_;
    for (;;) {
        if (!self.told.empty()) {
            out = std::move(self.told.front());
            self.told.pop_front();
            return true;
        }
        if (self.link == nullptr) {
            if (self.try_at == base::kNever) return false;
            const base::Time now = base::monotonic_now();
            if (now < self.try_at) return false;
            self.try_connect(now);
            continue;
        }
        if (std::exchange(self.unread, false)) {
            switch (self.link->next(self.buffer, out.message)) {
                case FrameReader::Step::Message:
                    self.unread = true;
                    // A server that talks to us is alive: the next loss starts with short waits.
                    self.backoff.reset();
                    out.kind = Incoming::Kind::Message;
                    out.conn = self.link->id();
                    out.reason.clear();
                    return true;
                case FrameReader::Step::Broken:
                    return self.finish(out, Incoming::Kind::Rejected);
                case FrameReader::Step::More:
                    break;
            }
        }
        // One read per turn; what comes later makes fd() readable.
        if (std::exchange(self.looked, !self.looked)) return false;
        if (self.link->unsent()) self.link->write();
        const LocalLink::Got got = self.link->read(self.buffer);
        if (got == LocalLink::Got::End) {
            self.looked = false;
            return self.finish(out, Incoming::Kind::Disconnected);
        }
        self.unread = got != LocalLink::Got::Nothing;
    }
}

Sent LocalClient::send(ConnId conn, const base::Message& message) {
    if (impl_->link == nullptr || impl_->link->id() != conn) return Sent::Gone;
    return impl_->link->send(message, impl_->small);
}

void LocalClient::flush() {
    if (impl_->link != nullptr && impl_->link->unsent()) impl_->link->write();
}

void LocalClient::disconnect(ConnId conn) {
    if (impl_->link == nullptr || impl_->link->id() != conn) return;
    impl_->link->write();
    impl_->last_error = "disconnected";
    impl_->told.clear();
    impl_->drop();
}

std::string_view LocalClient::principal(ConnId) const {
    return {};
}

base::Time LocalClient::wake_at() const {
    return impl_->link == nullptr && impl_->told.empty() ? impl_->try_at : base::kNever;
}

bool LocalClient::unsent() const {
    return impl_->link != nullptr && impl_->link->unsent();
}

std::string LocalClient::last_error() const {
    return impl_->last_error;
}

}  // namespace forkmill::net
