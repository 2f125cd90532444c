// SPDX-License-Identifier: Apache-2.0
// Queue<T>: first in, first out, between processes and hosts; Python's JoinableQueue.
//
// object.h says how handles are made, live and travel. Each call below is one message and its
// answer; put_async() lets many of them be under way at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "forkmill/detail/object_items.h"
#include "forkmill/object.h"

namespace forkmill {
inline namespace v0 {

struct QueueOptions {
    std::string name = {};    ///< As in ObjectOptions, and so are the next three.
    std::size_t maxsize = 0;  ///< Items; 0: only the broker's bounds hold (2^24 items, its bytes).
    bool leased = false;      ///< An item that was got is only lent until task_done(): it returns
                              ///< to the head if its task ends or its process dies before.
    std::uint64_t bytes_max = 0;  ///< Of all its items together; 0: only the broker's bound.
    bool create = true;
    bool exclusive = false;
    bool persistent = false;
};

/// What a put cannot wait for is QueueFull, what a get cannot, QueueEmpty; after shut() both are
/// ObjectClosed, gets once it is drained.
template <class T>
class Queue : public Object {
  public:
    Queue() = default;
    explicit Queue(Pool& pool, QueueOptions options = {})
        : Object(open(pool,
                      {options.name, options.create, options.exclusive, options.persistent},
                      {.kind = detail::ObjectKind::Queue,
                       .flags = options.leased ? detail::kLeased : 0U,
                       .type = type(),
                       .capacity = options.maxsize,
                       .bytes = options.bytes_max})) {}

    /// Waits while it is full.
    void put(const T& value) { put_async(value).get(); }
    /// Throws QueueFull after the timeout.
    void put_for(const T& value, Duration timeout) { put_async(value, timeout).get(); }
    /// False: it is full.
    bool try_put(const T& value) { return try_put_async(value).get(); }
    Operation<void> put_async(const T& value, Duration timeout = forever) {
        return {send(value, timeout), detail::finish_done};
    }
    Operation<bool> try_put_async(const T& value, Duration timeout = Duration::zero()) {
        return {send(value, timeout), detail::finish_in_time};
    }

    /// Waits while it is empty.
    T get() { return get_async().get(); }
    /// Throws QueueEmpty after the timeout.
    T get_for(Duration timeout) { return get_async(timeout).get(); }
    /// Empty: so is the queue.
    std::optional<T> try_get() { return try_get_async().get(); }
    Operation<T> get_async(Duration timeout = forever) {
        return {detail::ask_get(shared_, timeout), detail::finish_value<T>};
    }
    Operation<std::optional<T>> try_get_async(Duration timeout = Duration::zero()) {
        return {detail::ask_get(shared_, timeout), detail::finish_got<T>};
    }

    /// An item that this task (outside of tasks: this thread, or else any of the program) got is
    /// dealt with, the oldest first. Throws UsageError when there are more of these than gets,
    /// LockLost when a leased item was taken back meanwhile: another gets it.
    void task_done() { task_done_async().get(); }
    Operation<void> task_done_async() { return {detail::ask_done(shared_), detail::finish_done}; }
    /// Waits until every item that was put is dealt with.
    void join() { join_async().get(); }
    /// False at the timeout.
    bool join_for(Duration timeout) { return join_for_async(timeout).get(); }
    Operation<void> join_async() { return {ask_join(forever), detail::finish_done}; }
    Operation<bool> join_for_async(Duration timeout) {
        return {ask_join(timeout), detail::finish_in_time};
    }

    /// No more puts; gets end with ObjectClosed once it is drained. For all who have it.
    void shut() { shut_async().get(); }
    Operation<void> shut_async() {
        return {detail::ask(shared_, {.verb = detail::Verb::Shut}), detail::finish_done};
    }

    // True when they were asked for; others may have put or got since.
    std::size_t size() const { return size_async().get(); }
    Operation<std::size_t> size_async() const { return count_async(); }
    bool empty() const { return size() == 0; }
    bool full() const { return full_async().get(); }
    Operation<bool> full_async() const {
        return {detail::ask(shared_, {.verb = detail::Verb::Info}), [](detail::Ask& ask) {
                    return detail::finish_count(ask) >= detail::answer_of(ask).token;
                }};
    }

  private:
    friend struct Codec<Queue>;
    static std::string type() { return detail::signature_of<T>(); }
    detail::AskPtr send(const T& value, Duration timeout) {
        detail::Request request{.verb = detail::Verb::Put, .timeout = timeout};
        request.items.push_back(detail::pack_item(value));
        return detail::ask(shared_, std::move(request));
    }
    detail::AskPtr ask_join(Duration timeout) {
        return detail::ask(shared_, {.verb = detail::Verb::Join, .timeout = timeout});
    }
};

template <class T>
struct Codec<Queue<T>> {
    static std::string signature() { return "queue<" + Queue<T>::type() + ">"; }
    static void encode(Packer& packer, const Queue<T>& value) {
        packer.unsigned_integer(detail::object_leaves(value.shared_));
    }
    static void decode(Unpacker& unpacker, Queue<T>& value) {
        value.shared_ = detail::object_arrived(
            unpacker.unsigned_integer(UINT64_MAX), detail::ObjectKind::Queue, Queue<T>::type(), 0);
    }
};

}  // namespace v0
}  // namespace forkmill
