// SPDX-License-Identifier: Apache-2.0
// FakeObjects: a client whose operations on shared objects meet a test instead of a broker.
//
// Opens are answered with ids from 100 on; everything else waits in `said` for the test's answer.
// Threading: pump() and answers by the test's thread, or by serve()'s.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "forkmill/pool.h"
#include "forkmill/queue.h"
#include "sdk/src/client.h"
#include "tests/support/wait_until.h"

namespace forkmill::detail {

class FakeObjects {
  public:
    using Answerer = std::function<bool(const wire::ObjectOp& op, wire::ObjectReply& reply)>;

    FakeObjects()
        : client(std::make_shared<Client>(nullptr, 1, false, [this] { ++wakes; })), pool(client) {}
    ~FakeObjects() {
        stop();
        client->destroy();
    }

    ObjectPort& port() { return client->objects(); }

    /// Takes what is there; `answer` may answer at once.
    void pump() {
        while (const wire::ObjectOp* op = port().peek_operation()) {
            said.push_back(*op);
            for (wire::ObjectItem& item : said.back().items) bodies.push_back(item.body.body.blob);
            const wire::ObjectOp& kept = said.back();
            port().pop_operation();
            wire::ObjectReply reply;
            reply.op = kept.op;
            if (kept.verb == wire::ObjectVerb::Open) {
                reply.token = kept.object != 0 ? kept.object : next_id++;
                reply.flags = wire::kReplyCreated;
                port().on_answer(reply);
            } else if (answerer && answerer(kept, reply)) {
                port().on_answer(reply);
            }
        }
    }
    /// Pumps on a thread of its own until stop().
    void serve() {
        thread = std::thread([this] {
            while (!stopping) {
                pump();
                std::this_thread::yield();
            }
        });
    }
    void stop() {
        stopping = true;
        if (thread.joinable()) thread.join();
        stopping = false;
    }
    std::vector<wire::ObjectOp> of(wire::ObjectVerb verb) const {
        std::vector<wire::ObjectOp> list;
        for (const wire::ObjectOp& op : said)
            if (op.verb == verb) list.push_back(op);
        return list;
    }
    std::size_t count(wire::ObjectVerb verb) const { return of(verb).size(); }
    void answer(const wire::ObjectOp& op,
                wire::Code code,
                const std::function<void(wire::ObjectReply&)>& more = {}) {
        wire::ObjectReply reply;
        reply.op = op.op;
        reply.code = code;
        if (more) more(reply);
        port().on_answer(reply);
    }

    std::atomic<int> wakes{0};
    ClientPtr client;
    Pool pool;
    Answerer answerer;
    std::deque<wire::ObjectOp> said;
    std::vector<base::Blob> bodies;
    std::uint64_t next_id = 100;
    std::thread thread;
    std::atomic<bool> stopping{false};
};

/// Makes a handle while somebody serves the opens.
template <class Make>
auto made(FakeObjects& fake, Make make) {
    fake.serve();
    auto handle = make();
    fake.stop();
    return handle;
}
template <class T>
Queue<T> queue_of(FakeObjects& fake) {
    return made(fake, [&] { return Queue<T>{fake.pool}; });
}

/// An item of one packed number.
template <class T>
wire::ObjectItem item_of(const T& value, std::vector<std::uint64_t> refs = {}) {
    Buffer bytes;
    Packer packer{bytes};
    Codec<T>::encode(packer, value);
    wire::ObjectItem item;
    item.body.body = base::Body::of(base::Blob::copy(bytes));
    item.body.size = bytes.size();
    item.refs = std::move(refs);
    return item;
}

}  // namespace forkmill::detail
