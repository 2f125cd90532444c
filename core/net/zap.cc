// SPDX-License-Identifier: Apache-2.0
#include "core/net/zap.h"

#include <zmq.hpp>

#include <array>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/net/poll_loop.h"
#include "core/net/zmq_dealer.h"
#include "core/net/zmq_router.h"

namespace forkmill::net {

namespace {

constexpr const char* kHandler = "inproc://zeromq.zap.01";
constexpr const char* kStop = "inproc://forkmill.zap.stop";
/// version, request id, domain, address, identity, mechanism, and for CURVE the key.
constexpr std::size_t kRequestFrames = 7;

int without_linger(void* socket) {
    const int none = 0;
    return ::zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
}

std::string z85(const std::string& key) {
    std::array<char, kKeyText + 1> text{};
    if (key.size() != 32) return {};
    std::array<std::uint8_t, 32> raw{};
    std::memcpy(raw.data(), key.data(), raw.size());
    return ::zmq_z85_encode(text.data(), raw.data(), raw.size()) == nullptr
               ? std::string{}
               : std::string{text.data()};
}

}  // namespace

Zap::Zap(std::shared_ptr<const AllowList> allowed)
    : context_(Context::get()), allowed_(std::move(allowed)) {}

base::Result<std::unique_ptr<Zap>> Zap::start(std::shared_ptr<const AllowList> allowed) {
    std::unique_ptr<Zap> zap{new Zap{std::move(allowed)}};
    zap->handler_ = ::zmq_socket(zap->context_->raw(), ZMQ_REP);
    zap->stop_here_ = ::zmq_socket(zap->context_->raw(), ZMQ_PAIR);
    zap->stop_there_ = ::zmq_socket(zap->context_->raw(), ZMQ_PAIR);
    for (void* socket : {zap->handler_, zap->stop_here_, zap->stop_there_}) {
        if (socket == nullptr || without_linger(socket) != 0)
            return base::Failure{"cannot make the key checker's sockets"};
    }
    if (::zmq_bind(zap->handler_, kHandler) != 0)
        return base::Failure{
            std::string{"this process checks keys already: "} + ::zmq_strerror(::zmq_errno()),
            ::zmq_errno()};
    if (::zmq_bind(zap->stop_there_, kStop) != 0 || ::zmq_connect(zap->stop_here_, kStop) != 0)
        return base::Failure{"cannot connect to the key checker"};
    // Signals belong to the owner's loop, not to this thread.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    zap->thread_ = std::thread{[raw = zap.get()] { raw->serve(); }};
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    zap->context_->has_zap().store(true);
    return zap;
}

Zap::~Zap() {
    if (!context_->ours()) {
        // The thread exists in the parent only.
        if (thread_.joinable()) thread_.detach();
        return;
    }
    if (thread_.joinable()) {
        context_->has_zap().store(false);
        ::zmq_send(stop_here_, "", 0, 0);
        thread_.join();
    }
    for (void* socket : {handler_, stop_here_, stop_there_}) {
        if (socket != nullptr) ::zmq_close(socket);
    }
}

void Zap::serve() {
    std::array<zmq_pollitem_t, 2> items{zmq_pollitem_t{handler_, 0, ZMQ_POLLIN, 0},
                                        zmq_pollitem_t{stop_there_, 0, ZMQ_POLLIN, 0}};
    for (;;) {
        if (::zmq_poll(items.data(), static_cast<int>(items.size()), -1) < 0 &&
            ::zmq_errno() != EINTR)
            return;
        if ((items[1].revents & ZMQ_POLLIN) != 0) return;
        if ((items[0].revents & ZMQ_POLLIN) != 0) answer(handler_);
    }
}

void Zap::answer(void* socket) {
    std::vector<std::string> request;
    bool more = true;
    while (more) {
        zmq::message_t frame;
        if (::zmq_msg_recv(frame.handle(), socket, ZMQ_DONTWAIT) < 0) return;
        if (request.size() < kRequestFrames)
            request.emplace_back(static_cast<const char*>(frame.data()), frame.size());
        more = frame.more();
    }
    request.resize(kRequestFrames);
    const bool open = request[2] == kOpenDomain && request[5] == "NULL";
    const bool guarded = request[2] == kGuardedDomain && request[5] == "CURVE";
    const auto key =
        request[0] == "1.0" && guarded ? allowed_->find(z85(request[6])) : std::nullopt;
    const bool let_in = open || key.has_value();
    if (!open) (let_in ? accepted_ : refused_).fetch_add(1, std::memory_order_relaxed);
    const std::array<std::string, 6> reply{"1.0",
                                           request[1],
                                           let_in ? "200" : "400",
                                           let_in ? "OK" : "key not allowed",
                                           key.has_value() ? key->name : "",
                                           ""};
    for (std::size_t i = 0; i < reply.size(); ++i) {
        const int flags = ZMQ_DONTWAIT | (i + 1 < reply.size() ? ZMQ_SNDMORE : 0);
        if (::zmq_send(socket, reply[i].data(), reply[i].size(), flags) < 0) return;
    }
}

base::Status curve_self_test() {
    const CurvePair server = make_curve_pair();
    const CurvePair stranger = make_curve_pair();
    auto router = ZmqRouter::make(
        {.connections_max = 16, .curve = CurveServer{server.secret_key, server.public_key}});
    if (!router.ok()) return router.failure();
    Endpoint endpoint;
    endpoint.scheme = Scheme::Tcp;
    endpoint.host = "127.0.0.1";
    const auto bound = router.value()->bind(endpoint);
    if (!bound.ok()) return bound.failure();
    auto dealer = ZmqDealer::make(
        bound.value(),
        {.linger = std::chrono::milliseconds{0},
         .curve = CurveClient{server.public_key, stranger.public_key, stranger.secret_key}});
    if (!dealer.ok()) return dealer.failure();
    enum class Verdict { None, Refused, LetIn } verdict = Verdict::None;
    PollLoop loop{base::Duration::zero()};
    Incoming in;
    loop.add(*router.value(), [&] {
        while (router.value()->receive(in)) {
        }
    });
    loop.add(*dealer.value(), [&] {
        while (dealer.value()->receive(in)) {
            if (in.kind == Incoming::Kind::Connected) verdict = Verdict::LetIn;
            if (in.kind == Incoming::Kind::Rejected && verdict == Verdict::None)
                verdict = Verdict::Refused;
        }
    });
    const base::Time end = base::monotonic_now() + std::chrono::seconds{2};
    while (verdict == Verdict::None && base::monotonic_now() < end) loop.run_once(end);
    if (verdict == Verdict::Refused) return base::Done{};
    if (verdict == Verdict::LetIn)
        return base::Failure{"this libzmq lets keys in that are not on the allow-list"};
    return base::Failure{"the check of unknown keys had no verdict within 2 s"};
}

}  // namespace forkmill::net
