// SPDX-License-Identifier: Apache-2.0
// The seam's functions about tickets, groups and sessions: thin doors to Client and Group.
#include <string>
#include <utility>

#include "forkmill/detail/seam.h"
#include "forkmill/errors.h"
#include "forkmill/pool.h"
#include "sdk/src/client.h"
#include "sdk/src/group.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

Ticket submit(Client& client,
              std::uint32_t template_number,
              Bytes arguments,
              const SubmitExtra* extra) {
    return client.submit(template_number, arguments, extra);
}

TaskId id_of(Client& client, Ticket ticket) {
    client.check_fork();
    Slot& slot = client.table().of(ticket);
    if (slot.link != nullptr) {
        const auto& aux = *static_cast<Aux*>(slot.link);
        if (aux.attach) return TaskId{aux.attach->stream, aux.attach->seq};
    }
    return TaskId{client.stream(), slot.seq};
}

bool wait(Client& client, Ticket ticket, Duration timeout) {
    client.check_fork();
    client.table().of(ticket);
    return client.wait_slot(ticket.slot, timeout);
}

bool ready(Client& client, Ticket ticket) {
    client.check_fork();
    return PendingTable::settled(client.table().of(ticket));
}

SettledView view(Client& client, Ticket ticket) {
    set_viewed_client(&client);
    return PendingTable::view(client.table().of(ticket));
}

void cancel(Client& client, Ticket ticket, bool kill) {
    client.check_fork();
    client.table().of(ticket);
    client.table().cancel(ticket.slot, kill);
}

void then(Client& client, Ticket ticket, std::unique_ptr<Completion> completion) {
    client.check_fork();
    client.table().of(ticket);
    client.start_callbacks();
    client.table().then(ticket.slot, std::move(completion));
}

void on_progress(Client& client,
                 Ticket ticket,
                 std::function<void(double, std::string_view)> handler) {
    client.check_fork();
    client.table().of(ticket);
    client.start_callbacks();
    client.table().on_progress(ticket.slot, std::move(handler));
}

void drop(Client& client, Ticket ticket) noexcept {
    if (client.forked() || !ticket) return;
    client.table().release(ticket.slot);
}

Ticket attach(Client& client, const TaskId& id) {
    return client.attach(id);
}

GroupPtr group_begin(ClientPtr client, std::uint32_t template_number, std::size_t expected) {
    client->check_submit(0);
    return std::make_shared<Group>(
        std::move(client), static_cast<std::uint16_t>(template_number), expected);
}

void group_submit(Group& group, Bytes arguments, const SubmitExtra* extra) {
    group.submit(arguments, extra);
}
void group_flush(Group& group) {
    group.flush();
}
bool group_wait_all(Group& group, Duration timeout) {
    return group.wait_all(timeout);
}
bool group_wait_item(Group& group, std::size_t index, Duration timeout) {
    return group.wait_item(index, timeout);
}
std::optional<std::size_t> group_next(Group& group, Duration timeout) {
    return group.next(timeout);
}
std::size_t group_settled(const Group& group) {
    return group.settled();
}
SettledView group_view(Group& group, std::size_t index) {
    set_viewed_client(&group.client());
    return group.view(index);
}
void group_release(Group& group, std::size_t index) {
    group.release(index);
}

void group_cancel(Group& group, bool kill) noexcept {
    try {
        group.cancel(kill);
    } catch (const Error&) {  // The pool is gone: everything is settled.
    }
}

void group_then(Group& group, std::function<void()> done) {
    group.then(std::move(done));
}
TaskId group_id(Group& group, std::size_t index) {
    return group.id(index);
}

void close_client(Client& client) {
    client.close();
}
void terminate_client(Client& client) noexcept {
    client.terminate();
}
bool join_client(Client& client, Duration timeout) {
    return client.join(timeout);
}
void destroy_client(Client& client) noexcept {
    client.destroy();
}

std::vector<WorkerInfo> workers_of(Client& client) {
    client.check_fork();
    const std::shared_ptr<Backend> backend = client.backend();
    if (!backend) throw UsageError{"this pool has ended, or belongs to a running task"};
    return backend->workers();
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
