// SPDX-License-Identifier: Apache-2.0
#include "core/net/zmq_context.h"

#include <unistd.h>
#include <zmq.h>

#include <mutex>

#include "core/base/check.h"

namespace forkmill::net {

namespace {

/// Sockets, not connections: a process has a handful.
constexpr int kSocketsMax = 1023;

}  // namespace

Context::Context() : raw_(::zmq_ctx_new()), owner_(::getpid()) {
    FORKMILL_CHECK(raw_ != nullptr);
    ::zmq_ctx_set(raw_, ZMQ_IO_THREADS, 1);
    ::zmq_ctx_set(raw_, ZMQ_MAX_SOCKETS, kSocketsMax);
}

Context::~Context() {
    // Every socket has a finite linger, so this ends.
    if (ours()) ::zmq_ctx_term(raw_);
}

bool Context::ours() const {
    return ::getpid() == owner_;
}

std::shared_ptr<Context> Context::get() {
    static std::mutex mutex;
    static std::weak_ptr<Context> current;
    const std::lock_guard lock{mutex};
    std::shared_ptr<Context> context = current.lock();
    if (context == nullptr || !context->ours()) {
        context.reset(new Context{});
        current = context;
    }
    return context;
}

}  // namespace forkmill::net
