// SPDX-License-Identifier: Apache-2.0
// pipe<T>() and Connection<T>: two ends that talk to each other, between processes and hosts;
// Python's Pipe.
//
// Boundaries are kept: what was sent as one value arrives as one. An end is closed with its last
// copy in its process, or with the process; then the other end drains what is left and gets
// ObjectClosed, its sends as well. Who hands an end over keeps it until the task has it, or the
// Process was started, then close()s its own copy, or the other side never sees the end. Messages:
// as a Queue's.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "forkmill/detail/object_items.h"
#include "forkmill/object.h"

namespace forkmill {
inline namespace v0 {

struct PipeOptions {
    bool duplex = true;       ///< False: the first end only receives, the second only sends.
    std::size_t maxsize = 0;  ///< Values under way in one direction; 0: only the broker's bounds.
};

template <class T>
class Connection;
template <class T>
std::pair<Connection<T>, Connection<T>> pipe(Pool& pool, PipeOptions options = {});

/// One end. Copies are the same end.
template <class T>
class Connection {
  public:
    /// Names no pipe.
    Connection() = default;
    bool readable() const { return static_cast<bool>(in_); }
    bool writable() const { return static_cast<bool>(out_); }

    /// Waits while maxsize values are under way. Throws ObjectClosed when nobody can receive it.
    void send(const T& value) { send_async(value).get(); }
    /// Throws QueueFull after the timeout.
    void send_for(const T& value, Duration timeout) { send_async(value, timeout).get(); }
    /// False: maxsize values are under way.
    bool try_send(const T& value) { return try_send_async(value).get(); }
    Operation<void> send_async(const T& value, Duration timeout = forever) {
        return {put(value, timeout), detail::finish_done};
    }
    Operation<bool> try_send_async(const T& value, Duration timeout = Duration::zero()) {
        return {put(value, timeout), detail::finish_in_time};
    }

    /// Waits for a value. Throws ObjectClosed when there will be none.
    T recv() { return recv_async().get(); }
    /// Throws QueueEmpty after the timeout.
    T recv_for(Duration timeout) { return recv_async(timeout).get(); }
    /// Empty: none is there.
    std::optional<T> try_recv() { return try_recv_async().get(); }
    Operation<T> recv_async(Duration timeout = forever) {
        return {detail::ask_get(end(in_), timeout), detail::finish_value<T>};
    }
    Operation<std::optional<T>> try_recv_async(Duration timeout = Duration::zero()) {
        return {detail::ask_get(end(in_), timeout), detail::finish_got<T>};
    }
    /// Whether recv() would return, or throw, at once. What it finds waits in this process.
    bool poll(Duration timeout = Duration::zero()) { return poll_async(timeout).get(); }
    Operation<bool> poll_async(Duration timeout = Duration::zero()) {
        return {detail::ask_poll(end(in_), timeout), detail::finish_poll};
    }
    /// Readable while recv() would return, or throw, at once: for poll, epoll and wait(). Its own,
    /// until close() or the last copy's end. From the first call on each recv() is followed by one
    /// more message, which asks whether there is another value; no value waits in this process. A
    /// connection that is watched so counts as one call that waits.
    int fd() const { return detail::readable_fd(end(in_)); }
    /// This copy names no pipe any more.
    void close() {
        in_.reset();
        out_.reset();
    }

  private:
    friend struct Codec<Connection>;
    friend std::pair<Connection, Connection> pipe<T>(Pool& pool, PipeOptions options);
    static std::string type() { return detail::signature_of<T>(); }
    static const detail::SharedPtr& end(const detail::SharedPtr& which) {
        if (!which)
            throw UsageError("this end of the pipe is closed, or is for the other direction");
        return which;
    }
    detail::AskPtr put(const T& value, Duration timeout) {
        detail::Request request{.verb = detail::Verb::Put, .timeout = timeout};
        request.items.push_back(detail::pack_item(value));
        return detail::ask(end(out_), std::move(request));
    }

    detail::SharedPtr in_;
    detail::SharedPtr out_;
};

/// Both ends, in this process.
template <class T>
std::pair<Connection<T>, Connection<T>> pipe(Pool& pool, PipeOptions options) {
    const std::string type = Connection<T>::type();
    const auto one_way = [&](Connection<T>& reader, Connection<T>& writer) {
        reader.in_ = detail::open_object(pool,
                                         {.kind = detail::ObjectKind::Queue,
                                          .flags = detail::kEnds | detail::kReader,
                                          .type = type,
                                          .capacity = options.maxsize});
        writer.out_ = detail::open_end(reader.in_, type, detail::kWriter);
    };
    std::pair<Connection<T>, Connection<T>> ends;
    one_way(ends.first, ends.second);
    if (options.duplex) one_way(ends.second, ends.first);
    return ends;
}

template <class T>
struct Codec<Connection<T>> {
    static std::string signature() { return "connection<" + Connection<T>::type() + ">"; }
    static void encode(Packer& packer, const Connection<T>& value) {
        packer.array(2);
        packer.unsigned_integer(value.in_ ? detail::object_leaves(value.in_) : 0);
        packer.unsigned_integer(value.out_ ? detail::object_leaves(value.out_) : 0);
    }
    static void decode(Unpacker& unpacker, Connection<T>& value) {
        if (unpacker.array() != 2) throw PackError("expected the two queues of a connection");
        const auto end = [&](std::uint32_t role) {
            const std::uint64_t id = unpacker.unsigned_integer(UINT64_MAX);
            return id == 0 ? detail::SharedPtr{}
                           : detail::object_arrived(
                                 id, detail::ObjectKind::Queue, Connection<T>::type(), role);
        };
        value.in_ = end(detail::kReader);
        value.out_ = end(detail::kWriter);
    }
};

}  // namespace v0
}  // namespace forkmill
