// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/inheritance.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "core/base/identity.h"
#include "core/net/client_transport.h"
#include "core/net/endpoint.h"
#include "core/net/local_socket.h"
#include "forkmill/errors.h"
#include "sdk/local/fork_host.h"
#include "sdk/src/client_log.h"
#include "sdk/src/heir_watch.h"

namespace forkmill {
inline namespace v0 {
namespace local {

namespace {

using detail::Ask;
using detail::AskPtr;
using detail::ClientPtr;
using detail::SharedPtr;

constexpr std::chrono::milliseconds kKnock{1000};

AskPtr ask_to_pass(const SharedPtr& handle, const SessionName& heir) {
    auto ask = std::make_shared<Ask>();
    ask->client = handle->client;
    ask->object = handle;
    ask->op.verb = wire::ObjectVerb::Pass;
    ask->op.object = handle->identity.id;
    ask->op.flags = handle->identity.role;
    ask->op.name = base::to_string(heir.key);
    ask->op.token = heir.stream;
    handle->client->objects().ask(ask);
    return ask;
}

/// A connection to the broker behind the door. Nobody there, or no room: it is at its end at once.
net::UniqueFd knock(supervisor::Channel& door) {
    std::array<int, 2> pair{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data()) != 0)
        throw UsageError{std::string{"no socket to the parent's pool: "} + std::strerror(errno)};
    net::UniqueFd ours{pair[0]};
    const net::UniqueFd theirs{pair[1]};
    supervisor::Notice notice;
    notice.verb = supervisor::Verb::Knock;
    const std::array<int, 1> fds{theirs.get()};
    const base::Time until = base::monotonic_now() + kKnock;
    while (door.send(notice, fds) == supervisor::Channel::Sent::Full &&
           base::monotonic_now() < until) {
        pollfd room{door.fd(), POLLOUT, 0};
        ::poll(&room, 1, static_cast<int>(kKnock.count()));
    }
    return ours;
}

std::unique_ptr<net::Transport> transport_of(const detail::Way& way) {
    if (way.door) return std::make_unique<net::LocalClient>(knock(*way.door));
    base::Result<net::Endpoint> endpoint = net::parse_endpoint(way.endpoint);
    if (!endpoint.ok()) throw UsageError{endpoint.failure().text};
    base::Result<std::unique_ptr<net::Transport>> transport =
        net::make_client_transport(endpoint.value(), way.keys);
    if (!transport.ok()) throw UsageError{transport.failure().text};
    return std::move(transport).value();
}

}  // namespace

// By the other constructor, so that what was opened is ended when this one throws.
Bequest::Bequest(const std::vector<SharedPtr>& handles) : Bequest() {
    std::vector<AskPtr> asked;
    for (const SharedPtr& handle : handles) {
        const PassedHandle passed{heir_of(handle), handle->identity};
        const auto same = [&](const PassedHandle& other) {
            return other.heir == passed.heir && other.identity.id == passed.identity.id &&
                   other.identity.role == passed.identity.role;
        };
        // The child has one handle of it, however often it is among the arguments.
        if (std::none_of(handles_.begin(), handles_.end(), same))
            asked.push_back(ask_to_pass(handle, heirs_[passed.heir].name));
        handles_.push_back(passed);
    }
    for (const AskPtr& ask : asked) {
        detail::await_answer(ask);
        if (ask->code != wire::Code::None) detail::throw_refusal(*ask);
        const std::uint32_t heir = heir_of(ask->object);
        heirs_[heir].name.incarnation = ask->answer.version;
        for (PassedHandle& handle : handles_)
            if (handle.heir == heir && handle.identity.id == ask->op.object)
                handle.identity.find_word(*ask->client, ask->answer.count);
    }
}

std::uint32_t Bequest::heir_of(const SharedPtr& handle) {
    const ClientPtr& client = handle->client;
    client->check_fork();
    client->objects().check_alive(*handle);
    const auto known = std::find(clients_.begin(), clients_.end(), client);
    if (known != clients_.end()) return static_cast<std::uint32_t>(known - clients_.begin());
    if (client->nested())
        throw UsageError{
            "a handle of a running task's pool cannot be an argument of a Process: its broker "
            "knows "
            "the worker, not what that starts"};
    const std::shared_ptr<detail::Backend> backend = client->backend();
    if (!backend) client->throw_closed();
    heirs_.push_back(
        {{base::random_session(), base::random_number()}, backend->way(), client->lock_words()});
    clients_.push_back(client);
    return static_cast<std::uint32_t>(clients_.size() - 1);
}

Bequest::~Bequest() {
    if (born_) return;
    for (std::size_t i = 0; i < heirs_.size(); ++i)
        clients_[i]->objects().tell(detail::burial_of(heirs_[i].name.key));
}

std::vector<int> Bequest::doors() const {
    std::vector<int> fds;
    for (const Heir& heir : heirs_)
        if (heir.way.door) fds.push_back(heir.way.door->fd());
    return fds;
}

void Bequest::born(const detail::Sentinel& sentinel) {
    for (std::size_t i = 0; i < heirs_.size(); ++i) {
        // A pool that has ended meanwhile took the session along.
        const std::shared_ptr<detail::Backend> backend = clients_[i]->backend();
        if (!backend) continue;
        const base::Status watched = backend->end_with(heirs_[i].name.key, sentinel);
        if (!watched.ok())
            detail::log_warning("the end of a process will be noticed late: " +
                                watched.failure().text);
    }
    born_ = true;
}

void Bequest::write(BirthWriter& writer) const {
    writer.value(static_cast<std::uint64_t>(heirs_.size()));
    for (const Heir& heir : heirs_) {
        writer.value(heir.name);
        writer.bytes(heir.way.endpoint);
        writer.bytes(heir.way.keys.server_key);
        writer.bytes(heir.way.keys.key_file);
        writer.value(heir.way.door != nullptr);
        writer.value(heir.lock_words);
    }
    writer.value(static_cast<std::uint64_t>(handles_.size()));
    for (const PassedHandle& handle : handles_) writer.value(handle);
}

void Inheritance::read(BirthReader& reader, std::vector<supervisor::OwnedFd> doors) {
    std::uint64_t count = 0;
    reader.value(count);
    std::size_t next = 0;
    for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
        Heir heir;
        bool door = false;
        reader.value(heir.name);
        reader.bytes(heir.way.endpoint);
        reader.bytes(heir.way.keys.server_key);
        reader.bytes(heir.way.keys.key_file);
        reader.value(door);
        reader.value(heir.lock_words);
        if (door && next < doors.size())
            heir.way.door = std::make_shared<supervisor::Channel>(std::move(doors[next++]));
        heirs_.push_back(std::move(heir));
    }
    reader.value(count);
    for (std::uint64_t i = 0; i < count && reader.ok(); ++i) reader.value(handles_.emplace_back());
}

void Inheritance::enter() {
    if (heirs_.empty()) return;
    ForkHost::pin();
    for (const Heir& heir : heirs_) {
        clients_.push_back(open_session(nullptr, heir.name, transport_of(heir.way), heir.way));
        clients_.back()->set_lock_words(heir.lock_words);
    }
    for (const PassedHandle& handle : handles_) {
        const ClientPtr& client = clients_.at(handle.heir);
        detail::Shared::Identity identity = handle.identity;
        identity.epoch = client->objects().epoch();
        passed_.push_back(client->objects().adopt(client, identity, false));
    }
    detail::set_passed(&passed_);
    context_.nested = clients_.front();
    detail::set_task_context(&context_);
}

void Inheritance::leave() noexcept {
    detail::set_passed(nullptr);
    passed_.clear();
    for (const ClientPtr& client : clients_) client->destroy();
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
