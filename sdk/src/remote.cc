// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/remote.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "core/net/poll_loop.h"
#include "forkmill/errors.h"
#include "forkmill/pool.h"
#include "sdk/src/client_log.h"
#include "sdk/src/remote_workers.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

constexpr int kMessagesPerTurn = 64;
constexpr base::Duration kGoodbye = std::chrono::milliseconds{500};
constexpr base::Duration kUnreached = std::chrono::seconds{1};
constexpr base::Duration kQuestion = std::chrono::seconds{10};
constexpr std::size_t kQuestionsMax = 256;

}  // namespace

Remote::Remote(Client& client,
               std::unique_ptr<net::Transport> transport,
               session::ClientSessionConfig config,
               std::shared_ptr<net::Wakeup> wakeup,
               Way way)
    : client_(client),
      transport_(std::move(transport)),
      wakeup_(std::move(wakeup)),
      way_(std::move(way)),
      heirs_(client.objects()),
      session_(std::move(config), client.io(), client.io(), *this, base::monotonic_now()),
      warn_at_(base::monotonic_now() + kUnreached) {
    client_.io().reply = [this](const wire::Reply& reply) {
        const std::lock_guard lock{mutex_};
        const auto known = questions_.find(reply.id);
        if (known == questions_.end()) return;
        known->second.answered = true;
        known->second.code = reply.code;
        known->second.body = reply.body;
        changed_.notify_all();
    };
    session_.core().set_objects(&client_.objects());
    client_.set_liveness(Liveness::Unreached);
    client_.objects().begin_silence(base::monotonic_now());
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Remote::~Remote() {
    stop();
}

void Remote::run() {
    net::PollLoop loop;
    loop.add(*transport_, [this] { receive(base::monotonic_now()); });
    loop.add(*wakeup_, [] {});
    while (!leaving_) {
        const base::Time now = base::monotonic_now();
        heirs_.join(loop);
        turn(now);
        if (leaving_) break;
        loop.run_once(std::min({session_.next_timer(), client_.io().next_timer(), warn_at_}));
    }
    say_goodbye();
    heirs_.leave(loop);
    loop.remove(*transport_);
    loop.remove(*wakeup_);
    transport_.reset();
    const std::lock_guard lock{mutex_};
    ended_ = true;
    changed_.notify_all();
}

void Remote::turn(base::Time now) {
    client_.io().set_now(now);
    if (reached_) warn_at_ = base::kNever;
    if (now >= warn_at_) {
        log_warning("no broker answers at " + way_.endpoint + " so far; trying on");
        warn_at_ = base::kNever;
    }
    if (session_.next_timer() <= now) session_.tick(now, out_);
    ask();
    session_.pump(now, out_);
    obey(now);
    send(now);
}

void Remote::receive(base::Time now) {
    net::Incoming incoming;
    for (int i = 0; i < kMessagesPerTurn && transport_->receive(incoming); ++i) {
        switch (incoming.kind) {
            case net::Incoming::Kind::Connected:
                session_.on_connected(incoming.conn, now, out_);
                break;
            case net::Incoming::Kind::Message:
                session_.on_message(incoming.conn, incoming.message, now, out_);
                break;
            case net::Incoming::Kind::Disconnected:
                session_.on_disconnected(incoming.conn, now, out_);
                // Nobody connects anew to what was handed in at a door.
                if (way_.door)
                    on_client_state(session::ClientState::Rejected,
                                    wire::Code::BrokerLost,
                                    "the pool that it is of has ended");
                break;
            case net::Incoming::Kind::Rejected:
                log_warning("connection to " + way_.endpoint + " refused: " + incoming.reason);
                if (incoming.conn != 0) session_.on_disconnected(incoming.conn, now, out_);
                break;
        }
    }
}

void Remote::send(base::Time now) {
    for (std::size_t i = 0; i < out_.items.size(); ++i) {
        const session::ClientOut::Item item = std::move(out_.items[i]);
        bool drop = item.disconnect;
        if (!item.message.control.empty() &&
            transport_->send(item.conn, item.message) == net::Sent::Full)
            drop = true;
        if (!drop) continue;
        transport_->disconnect(item.conn);
        session_.on_disconnected(item.conn, now, out_);
    }
    out_.items.clear();
    if (transport_->unsent()) transport_->flush();
}

void Remote::obey(base::Time now) {
    PendingIo& io = client_.io();
    if (dead_) {
        io.fail_all(wire::Outcome::Failed, dead_code_, dead_text_);
        io.publish();
    }
    if (terminating_.load(std::memory_order_acquire)) {
        session_.core().cancel_all(true);
        session_.pump(now, out_);
        io.fail_all(wire::Outcome::Cancelled, wire::Code::TaskCancelled, "the pool was terminated");
        io.publish();
        leaving_ = true;
    } else if (closing_.load(std::memory_order_acquire) && !io.has_work() && io.unsettled() == 0) {
        leaving_ = true;
    }
    if (leaving_) session_.close("the pool is done", now, out_);
}

void Remote::say_goodbye() {
    const base::Time until = base::monotonic_now() + kGoodbye;
    // A task handed over in the last moment must not wait for ever.
    client_.io().fail_all(
        wire::Outcome::Cancelled, wire::Code::TaskCancelled, "the pool was closed");
    client_.io().publish();
    client_.objects().end(wire::Code::TaskCancelled, "the pool was closed");
    client_.io().pumped();
    while (transport_->unsent() && base::monotonic_now() < until) {
        transport_->flush();
        ::sched_yield();
    }
}

void Remote::on_client_state(session::ClientState state, wire::Code code, std::string_view text) {
    switch (state) {
        case session::ClientState::Live:
            client_.set_payload_max(session_.payload_max());
            if (dead_) client_.objects().revive();
            dead_ = false;
            if (reached_) ask_again();
            reached_ = true;
            client_.set_liveness(Liveness::Live);
            break;
        case session::ClientState::Connecting:
            if (reached_) client_.set_liveness(Liveness::Away);
            break;
        case session::ClientState::Silent:
            client_.set_liveness(Liveness::Silent);
            break;
        case session::ClientState::Lost:
        case session::ClientState::Rejected:
            log_warning("session with " + way_.endpoint + " ended: " + std::string{text});
            client_.io().fail_all(wire::Outcome::Failed, code, text);
            client_.io().publish();
            client_.objects().end(code, text);
            // A session that the broker had given up goes on as a new one; silence goes on until it
            // answers.
            if (state == session::ClientState::Lost &&
                session_.state() != session::ClientState::Lost) {
                client_.objects().revive();
                break;
            }
            dead_ = true;
            dead_code_ = code;
            dead_text_ = text;
            client_.set_liveness(Liveness::Lost);
            break;
        case session::ClientState::Closed:
            break;
    }
}

void Remote::close() {
    closing_.store(true, std::memory_order_release);
    wake();
}

void Remote::terminate() noexcept {
    terminating_.store(true, std::memory_order_release);
    wake();
}

bool Remote::join(base::Time until) {
    std::unique_lock lock{mutex_};
    while (!ended_ && base::monotonic_now() < until) {
        changed_.wait_for(lock,
                          std::min<base::Duration>(until - base::monotonic_now(),
                                                   std::chrono::milliseconds{500}));
    }
    return ended_;
}

void Remote::stop() noexcept {
    terminate();
    if (thread_.joinable()) thread_.join();
}

base::Status Remote::end_with(const base::SessionKey& heir, Sentinel sentinel) {
    base::Status watched = heirs_.add(heir, std::move(sentinel));
    wake();
    return watched;
}

void Remote::ask() {
    std::vector<std::pair<std::uint64_t, std::string>> questions;
    {
        const std::lock_guard lock{mutex_};
        questions.swap(unasked_);
    }
    for (const auto& [id, what] : questions) session_.core().query(id, what, {});
}

/// A broker that was replaced took the questions with it that it had not answered. One that was
/// only away answers twice, and the second answer is nobody's.
void Remote::ask_again() {
    const std::lock_guard lock{mutex_};
    unasked_.clear();
    for (const auto& [id, question] : questions_)
        if (!question.answered) unasked_.emplace_back(id, question.what);
}

std::vector<WorkerInfo> Remote::workers() {
    std::unique_lock lock{mutex_};
    if (questions_.size() >= kQuestionsMax)
        throw UsageError{"too many questions to the broker at once"};
    const std::uint64_t id = next_question_++;
    questions_[id].what = "workers";
    unasked_.emplace_back(id, questions_[id].what);
    lock.unlock();
    wake();
    lock.lock();
    const auto answered = [&] { return questions_[id].answered || ended_; };
    changed_.wait_for(lock, kQuestion, answered);
    const Question question = std::move(questions_[id]);
    questions_.erase(id);
    if (!question.answered)
        throw Disconnected{"the broker at " + way_.endpoint + " does not answer"};
    return workers_of_reply(question.body);
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
