// SPDX-License-Identifier: Apache-2.0
#include "cli/connection.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <utility>

#include "cli/exit_code.h"
#include "core/base/identity.h"
#include "core/net/client_transport.h"
#include "core/net/poll_loop.h"
#include "core/session/client_session.h"
#include "core/wire/codec.h"

namespace forkmill::cli {

namespace {

constexpr std::uint64_t kSeq = 1;
constexpr int kMessagesPerTurn = 64;
constexpr base::Duration kAnswer = std::chrono::seconds{10};
constexpr base::Duration kGoodbye = std::chrono::milliseconds{500};

std::unique_ptr<net::Transport> transport_to(const std::string& text) {
    base::Result<net::Endpoint> endpoint = net::parse_endpoint(text);
    if (!endpoint.ok()) throw Failure{kUsage, endpoint.failure().text};
    auto transport = net::make_client_transport(endpoint.value(), net::or_environment({}));
    if (!transport.ok()) throw Failure{kUsage, transport.failure().text};
    return std::move(transport).value();
}

session::ClientSessionConfig config_of(std::uint64_t stream, bool admin) {
    session::ClientSessionConfig config;
    config.role = admin ? wire::Role::Admin : wire::Role::Client;
    config.key = base::random_session();
    config.stream = stream;
    config.host = base::host_name();
    config.pid = ::getpid();
    return config;
}

base::Time after(base::Duration limit) {
    const base::Time now = base::monotonic_now();
    return limit >= base::kNever - now ? base::kNever : now + limit;
}

}  // namespace

struct Connection::Impl final : session::SubmitSource,
                                session::OutcomeSink,
                                session::ClientListener,
                                session::ObjectLink {
    Impl(const std::string& text, bool admin)
        : endpoint(text),
          transport(transport_to(text)),
          session(config_of(stream, admin), *this, *this, *this, base::monotonic_now()) {
        session.core().set_objects(this);
        loop.add(*transport, [this] { receive(base::monotonic_now()); });
    }

    /// True as soon as `done` is; false at `until`. Failure 69 when the session is over.
    bool run(const std::function<bool()>& done, base::Time until);
    void receive(base::Time now);
    void send(base::Time now);
    void say_goodbye();

    // SubmitSource: the one task, if there is one.
    const session::SubmitItem* peek() override { return asked && !popped ? &item : nullptr; }
    void pop() override { popped = true; }
    const wire::TemplateDef& template_of(std::uint32_t) override { return def; }
    std::optional<session::CancelItem> next_cancel() override {
        return popped ? std::exchange(cancel, std::nullopt) : std::nullopt;
    }
    void rewind() override {
        item.resent = popped;
        popped = ended.has_value();
    }
    std::uint64_t floor() const override { return ended ? kSeq + 1 : kSeq; }
    void pumped() override {}

    // OutcomeSink
    void on_accepted(std::uint64_t, std::uint64_t) override { accepted = true; }
    void on_refused(const wire::Refused& refused) override { end(refused.code, refused.text); }
    void on_forgotten(std::uint64_t, std::uint64_t) override {
        end(wire::Code::Forgotten, "the broker no longer knows this task");
    }
    bool on_outcome(std::uint64_t seq, wire::Outcome outcome, const base::Body& body) override;
    void on_partial(std::uint64_t, double, std::string_view) override {}
    void on_reply(const wire::Reply& reply) override {
        if (reply.id == question) answer = Answer{reply.code, reply.body};
    }
    void on_turn(session::ClientCore&) override {}

    // ObjectLink: the one operation, if there is one.
    const wire::ObjectOp* peek_operation() override { return operation ? &*operation : nullptr; }
    void pop_operation() override { operation.reset(); }
    void on_answer(const wire::ObjectReply& reply) override {
        answer = Answer{reply.code, reply.text};
    }
    void on_event(const wire::ObjectEvent&) override {}
    void on_objects_lost() override {}

    void on_client_state(session::ClientState state,
                         wire::Code code,
                         std::string_view text) override {
        // A first greeting may fail for a while; only what can never succeed ends the command.
        if (state != session::ClientState::Lost && state != session::ClientState::Rejected) return;
        over = std::string{text.empty() ? wire::name_of(code) : text};
    }

    void end(wire::Code code, std::string_view text) {
        wire::ErrorInfo info;
        info.code = code;
        info.what = text;
        info.ran = wire::info_of(code).ran;
        ended = Ended{wire::Outcome::Failed, wire::pack_error(info)};
    }

    const std::string endpoint;
    const std::uint64_t stream = base::random_number();
    std::unique_ptr<net::Transport> transport;
    session::ClientSession session;
    session::ClientOut out;
    net::PollLoop loop;
    std::string refusal;
    std::optional<std::string> over;

    bool asked = false;
    bool popped = false;
    bool accepted = false;
    wire::TemplateDef def;
    base::TaskId attached;
    std::vector<std::byte> arguments;
    session::SubmitItem item;
    std::optional<session::CancelItem> cancel;
    std::optional<Ended> ended;

    std::optional<wire::ObjectOp> operation;
    std::uint64_t question = 0;
    std::optional<Answer> answer;
};

bool Connection::Impl::on_outcome(std::uint64_t seq,
                                  wire::Outcome outcome,
                                  const base::Body& body) {
    if (seq != kSeq || ended) return false;
    Ended how{outcome, {}};
    if (body.chunks) {
        for (const base::Blob& part : *body.chunks)
            how.body.insert(how.body.end(), part.view().begin(), part.view().end());
    } else {
        how.body.assign(body.view.begin(), body.view.end());
    }
    ended = std::move(how);
    return false;
}

bool Connection::Impl::run(const std::function<bool()>& done, base::Time until) {
    while (true) {
        const base::Time now = base::monotonic_now();
        if (session.next_timer() <= now) session.tick(now, out);
        session.pump(now, out);
        send(now);
        if (done()) return true;
        if (over) throw Failure{kUnavailable, "the broker at " + endpoint + ": " + *over};
        if (now >= until) return false;
        loop.run_once(std::min(session.next_timer(), until));
    }
}

void Connection::Impl::receive(base::Time now) {
    net::Incoming incoming;
    for (int i = 0; i < kMessagesPerTurn && transport->receive(incoming); ++i) {
        switch (incoming.kind) {
            case net::Incoming::Kind::Connected:
                session.on_connected(incoming.conn, now, out);
                break;
            case net::Incoming::Kind::Message:
                session.on_message(incoming.conn, incoming.message, now, out);
                break;
            case net::Incoming::Kind::Rejected:
                refusal = ": " + incoming.reason;
                if (incoming.conn != 0) session.on_disconnected(incoming.conn, now, out);
                break;
            case net::Incoming::Kind::Disconnected:
                session.on_disconnected(incoming.conn, now, out);
                break;
        }
    }
}

void Connection::Impl::send(base::Time now) {
    // on_disconnected() may add to what is walked here.
    for (std::size_t i = 0; i < out.items.size(); ++i) {
        const session::ClientOut::Item next = std::move(out.items[i]);
        bool drop = next.disconnect;
        if (!next.message.control.empty() &&
            transport->send(next.conn, next.message) == net::Sent::Full)
            drop = true;
        if (!drop) continue;
        transport->disconnect(next.conn);
        session.on_disconnected(next.conn, now, out);
    }
    out.items.clear();
    if (transport->unsent()) transport->flush();
}

void Connection::Impl::say_goodbye() {
    const base::Time now = base::monotonic_now();
    session.pump(now, out);
    session.close("the command is done", now, out);
    send(now);
    const base::Time until = now + kGoodbye;
    while (transport->unsent() && base::monotonic_now() < until) {
        transport->flush();
        ::sched_yield();
    }
    loop.remove(*transport);
}

Connection::Connection(const std::string& endpoint, base::Duration limit, bool admin)
    : impl_(std::make_unique<Impl>(endpoint, admin)) {
    Impl& i = *impl_;
    const auto live = [&] { return i.session.state() == session::ClientState::Live; };
    if (i.run(live, after(limit))) return;
    throw Failure{kUnavailable, "no broker answers at " + endpoint + i.refusal};
}

Connection::~Connection() {
    impl_->say_goodbye();
}

Answer Connection::ask(std::string_view what, std::string_view argument) {
    impl_->session.core().query(++impl_->question, what, argument);
    return wait_answer();
}

Answer Connection::operate(wire::ObjectVerb verb, std::uint64_t object) {
    wire::ObjectOp& operation = impl_->operation.emplace();
    operation.op = 1;
    operation.verb = verb;
    operation.object = object;
    return wait_answer();
}

Answer Connection::wait_answer() {
    Impl& i = *impl_;
    i.answer.reset();
    if (!i.run([&] { return i.answer.has_value(); }, after(kAnswer)))
        throw Failure{kUnavailable, "the broker at " + i.endpoint + " does not answer"};
    return *std::move(i.answer);
}

base::TaskId Connection::submit(std::string_view name,
                                std::string_view signature,
                                std::vector<std::byte> arguments,
                                bool detached) {
    Impl& i = *impl_;
    i.def.name = name;
    i.def.signature = signature;
    i.def.detached = detached;
    i.arguments = std::move(arguments);
    i.item.seq = kSeq;
    i.item.body = base::Body::of(base::ByteView{i.arguments});
    i.asked = true;
    return {i.stream, kSeq};
}

void Connection::attach(const base::TaskId& task) {
    Impl& i = *impl_;
    i.attached = task;
    i.item.seq = kSeq;
    i.item.attach = &i.attached;
    i.asked = true;
}

void Connection::cancel(bool kill) {
    impl_->cancel = session::CancelItem{kSeq, kill};
}

void Connection::wait_accepted() {
    Impl& i = *impl_;
    if (!i.run([&] { return i.accepted || i.ended; }, after(kAnswer)))
        throw Failure{kUnavailable, "the broker at " + i.endpoint + " does not answer"};
}

bool Connection::accepted() const {
    return impl_->accepted;
}

std::optional<Ended> Connection::wait(base::Duration limit) {
    Impl& i = *impl_;
    if (!i.run([&] { return i.ended.has_value(); }, after(limit))) return std::nullopt;
    return *i.ended;
}

}  // namespace forkmill::cli
