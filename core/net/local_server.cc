// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/check.h"
#include "core/net/listen.h"
#include "core/net/local_link.h"
#include "core/net/local_socket.h"

namespace forkmill::net {

namespace {

constexpr std::uint64_t kListening = 0;  ///< As epoll data; no ConnId is 0.
constexpr int kAcceptsPerTurn = 64;
constexpr base::Duration kAcceptPause = std::chrono::milliseconds{100};

}  // namespace

struct LocalServer::Impl {
    explicit Impl(LocalServerOptions opts)
        : options(opts),
          epoll(::epoll_create1(EPOLL_CLOEXEC)),
          buffer(opts.limits.read_buffer),
          next_id(next_transport_prefix()) {
        FORKMILL_CHECK(epoll);
    }

    ConnId enlist(UniqueFd fd, bool trusted);
    void accept_some();
    void accept_from(int listener);
    void pause_accepting();
    void resume_accepting();
    void look();
    bool read_next(Incoming& out);
    bool finish(Incoming& out, Incoming::Kind kind);
    LocalLink* find(ConnId conn) {
        const auto it = links.find(conn);
        return it == links.end() ? nullptr : it->second.get();
    }

    LocalServerOptions options;
    UniqueFd epoll;
    std::vector<UniqueFd> listening;
    base::Time resume_at = base::kNever;  ///< Accepting pauses until then (no descriptors left).
    ReadBuffer buffer;
    SmallBytes small;
    ConnId next_id;
    std::unordered_map<ConnId, std::unique_ptr<LocalLink>> links;
    std::deque<Incoming> told;     ///< Connected, to be told before anything else.
    std::deque<ConnId> readable;   ///< Links that epoll named and that were not read since.
    std::vector<ConnId> dirty;     ///< Links with something to write out.
    LocalLink* current = nullptr;  ///< The link whose bytes are in the buffer.
    bool looked = false;           ///< epoll was asked since receive() last said false.
};

namespace {

/// It connected while nobody served the socket, and is gone: dead, as a rule. As nobody answered,
/// it cannot have said more than who it was, and that is not true any more.
bool has_hung_up(int fd) {
    pollfd peer{fd, 0, 0};
    return ::poll(&peer, 1, 0) == 1 && (peer.revents & POLLHUP) != 0;
}

/// The peer's uid as a principal, or nothing when it may not connect.
std::string admit(int fd, bool any_user) {
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return {};
    if (!any_user && who.uid != ::geteuid() && who.uid != 0) return {};
    return "uid:" + std::to_string(who.uid);
}

}  // namespace

ConnId LocalServer::Impl::enlist(UniqueFd fd, bool trusted) {
    std::string principal = admit(fd.get(), trusted || options.any_user);
    if (principal.empty()) return 0;
    const ConnId id = ++next_id;
    links.emplace(id,
                  std::make_unique<LocalLink>(
                      std::move(fd), id, epoll.get(), options.limits, std::move(principal)));
    told.push_back(Incoming{Incoming::Kind::Connected, id, {}, {}});
    return id;
}

void LocalServer::Impl::pause_accepting() {
    for (const UniqueFd& one : listening)
        ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, one.get(), nullptr);
    resume_at = base::monotonic_now() + kAcceptPause;
}

void LocalServer::Impl::resume_accepting() {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kListening;
    for (const UniqueFd& one : listening)
        ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, one.get(), &event);
    resume_at = base::kNever;
}

void LocalServer::Impl::accept_some() {
    for (const UniqueFd& one : listening) accept_from(one.get());
}

void LocalServer::Impl::accept_from(int listener) {
    for (int i = 0; i < kAcceptsPerTurn && resume_at == base::kNever; ++i) {
        UniqueFd fd{::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
        if (!fd) {
            // Out of descriptors the listening fd stays readable: looking again at once would spin.
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                pause_accepting();
            if (errno == EINTR || errno == ECONNABORTED) continue;
            return;
        }
        if (has_hung_up(fd.get())) continue;
        if (links.size() < options.connections_max) enlist(std::move(fd), false);
    }
}

void LocalServer::Impl::look() {
    std::array<epoll_event, 128> events;
    const int count = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.u64 == kListening) {
            accept_some();
            continue;
        }
        LocalLink* link = find(event.data.u64);
        if (link == nullptr) continue;
        if ((event.events & EPOLLOUT) != 0) link->write();
        if ((event.events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0)
            readable.push_back(event.data.u64);
    }
}

bool LocalServer::Impl::finish(Incoming& out, Incoming::Kind kind) {
    out = Incoming{kind, current->id(), {}, current->reason()};
    links.erase(current->id());
    current = nullptr;
    return true;
}

/// A message or an end out of the current link, or out of the next readable one.
bool LocalServer::Impl::read_next(Incoming& out) {
    for (;;) {
        if (current != nullptr) {
            switch (current->next(buffer, out.message)) {
                case FrameReader::Step::Message:
                    out.kind = Incoming::Kind::Message;
                    out.conn = current->id();
                    out.reason.clear();
                    return true;
                case FrameReader::Step::Broken:
                    return finish(out, Incoming::Kind::Rejected);
                case FrameReader::Step::More:
                    break;
            }
            // If it has more, the next look finds it again, along with everybody else: one peer
            // that never stops starves nobody.
            current = nullptr;
        }
        if (readable.empty()) return false;
        current = find(readable.front());
        readable.pop_front();
        if (current == nullptr) continue;
        if (current->read(buffer) == LocalLink::Got::End)
            return finish(out, Incoming::Kind::Disconnected);
    }
}

LocalServer::LocalServer(LocalServerOptions options) : impl_(std::make_unique<Impl>(options)) {}
LocalServer::~LocalServer() = default;

base::Status LocalServer::listen(UniqueFd listening) {
    if (base::Status status = check_listening_fd(listening.get()); !status.ok()) return status;
    impl_->listening.push_back(std::move(listening));
    if (impl_->resume_at == base::kNever) impl_->resume_accepting();
    return base::Done{};
}

void LocalServer::stop_listening() {
    // Not only closed: somebody else may hold a duplicate, and epoll watches what lies behind both.
    for (const UniqueFd& one : impl_->listening)
        ::epoll_ctl(impl_->epoll.get(), EPOLL_CTL_DEL, one.get(), nullptr);
    impl_->listening.clear();
    impl_->resume_at = base::kNever;
}

ConnId LocalServer::adopt(UniqueFd connected) {
    const ConnId id = impl_->enlist(std::move(connected), true);
    FORKMILL_CHECK(id != 0);
    return id;
}

int LocalServer::fd() const {
    return impl_->epoll.get();
}

bool LocalServer::pending() {
    return !impl_->told.empty() || impl_->current != nullptr || !impl_->readable.empty();
}

bool LocalServer::receive(Incoming& out) {
    for (;;) {
        if (!impl_->told.empty()) {
            out = std::move(impl_->told.front());
            impl_->told.pop_front();
            return true;
        }
        if (impl_->read_next(out)) return true;
        // One look per turn; what comes later makes fd() readable.
        if (std::exchange(impl_->looked, !impl_->looked)) return false;
        if (impl_->resume_at <= base::monotonic_now()) impl_->resume_accepting();
        impl_->look();
    }
}

Sent LocalServer::send(ConnId conn, const base::Message& message) {
    LocalLink* link = impl_->find(conn);
    if (link == nullptr) return Sent::Gone;
    const Sent sent = link->send(message, impl_->small);
    if (sent == Sent::Ok && !link->dirty && link->unsent()) {
        link->dirty = true;
        impl_->dirty.push_back(conn);
    }
    return sent;
}

void LocalServer::flush() {
    for (const ConnId conn : impl_->dirty) {
        LocalLink* link = impl_->find(conn);
        if (link == nullptr) continue;
        link->dirty = false;
        link->write();
    }
    impl_->dirty.clear();
}

void LocalServer::disconnect(ConnId conn) {
    LocalLink* link = impl_->find(conn);
    if (link == nullptr) return;
    // What was sent before the farewell gets its chance: a REJECT must arrive.
    link->write();
    if (impl_->current == link) impl_->current = nullptr;
    impl_->links.erase(conn);
    std::erase_if(impl_->told, [conn](const Incoming& event) { return event.conn == conn; });
}

std::string_view LocalServer::principal(ConnId conn) const {
    const LocalLink* link = impl_->find(conn);
    return link == nullptr ? std::string_view{} : std::string_view{link->principal()};
}

base::Time LocalServer::wake_at() const {
    return impl_->resume_at;
}

bool LocalServer::unsent() const {
    for (const auto& [id, link] : impl_->links) {
        if (link->unsent()) return true;
    }
    return false;
}

std::size_t LocalServer::connections() const {
    return impl_->links.size();
}

}  // namespace forkmill::net
