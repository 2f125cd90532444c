// SPDX-License-Identifier: Apache-2.0
#include "worker/uplink.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "core/base/identity.h"
#include "core/base/log.h"
#include "core/net/client_transport.h"
#include "core/net/poll_loop.h"
#include "core/supervisor/process_title.h"
#include "worker/uplink_core.h"

namespace forkmill::worker {

namespace {

constexpr base::Duration kTickEvery = std::chrono::seconds{2};
constexpr base::Duration kByeLimit = std::chrono::milliseconds{500};
constexpr int kConfig = 78;

class Uplink {
  public:
    Uplink(const supervisor::WorkerBirth& birth, std::unique_ptr<net::Transport> transport)
        : channel_(supervisor::OwnedFd{birth.channel_fd}),
          transport_(std::move(transport)),
          core_(config_of(birth), base::monotonic_now()) {
        loop_.add(*transport_, [this] { read_transport(); });
        loop_.add(channel_.fd(), [this] { read_channel(); });
    }

    int run() {
        supervisor::Notice up;
        up.verb = supervisor::Verb::Up;
        channel_.post(up);
        while (!orphaned_ && !core_.done() && base::monotonic_now() < stop_by_) {
            loop_.run_once(std::min(core_.next_timer(), stop_by_));
            turn();
        }
        return orphaned_ ? 1 : 0;
    }

  private:
    static UplinkConfig config_of(const supervisor::WorkerBirth& birth) {
        UplinkConfig config;
        config.session = base::random_session();
        config.host = birth.host.empty() ? base::host_name() : birth.host;
        config.host_key = birth.host_key;
        config.pool = birth.pool;
        config.pid = ::getpid();
        config.seed = base::random_number();
        return config;
    }

    void read_transport() {
        net::Incoming incoming;
        for (int i = 0; i < 256 && transport_->receive(incoming); ++i) {
            const base::Time now = base::monotonic_now();
            switch (incoming.kind) {
                case net::Incoming::Kind::Connected:
                    conn_ = incoming.conn;
                    core_.on_connected(now, out_);
                    break;
                case net::Incoming::Kind::Message:
                    if (incoming.conn == conn_) core_.on_message(incoming.message, now, out_);
                    break;
                case net::Incoming::Kind::Disconnected:
                    if (incoming.conn == conn_) core_.on_disconnected();
                    break;
                case net::Incoming::Kind::Rejected:
                    base::log_line(base::LogLevel::Warning,
                                   "the connection was refused",
                                   {{"reason", incoming.reason}});
                    if (incoming.conn != 0 && incoming.conn == conn_) {
                        core_.on_disconnected();
                        out_.disconnect = true;
                    }
                    break;
            }
            send_out();
        }
    }

    void read_channel() {
        while (auto packet = channel_.receive()) {
            const supervisor::Notice& notice = packet->notice;
            if (notice.verb == supervisor::Verb::Stop || notice.verb == supervisor::Verb::Drain) {
                core_.leave();
                stop_by_ = std::min(stop_by_, base::monotonic_now() + kByeLimit);
            } else if (notice.verb == supervisor::Verb::Reopen) {
                static_cast<void>(base::log_reopen());
            } else {
                core_.on_notice(notice);
            }
        }
        orphaned_ = channel_.closed();
    }

    void turn() {
        const base::Time now = base::monotonic_now();
        if (core_.next_timer() <= now) core_.tick(now, out_);
        core_.pump(now, out_);
        send_out();
        for (const supervisor::Notice& kill : std::exchange(core_.kills(), {})) channel_.post(kill);
        if (now >= tick_at_) {
            tick_at_ = now + kTickEvery;
            channel_.post({.verb = supervisor::Verb::Tick});
        }
        if (channel_.has_backlog()) channel_.flush();
    }

    void send_out() {
        for (const base::Message& message : out_.messages) {
            if (transport_->send(conn_, message) != net::Sent::Full) continue;
            out_.disconnect = true;
            core_.on_disconnected();
            break;
        }
        out_.messages.clear();
        transport_->flush();
        if (std::exchange(out_.disconnect, false)) transport_->disconnect(std::exchange(conn_, 0));
    }

    supervisor::Channel channel_;
    std::unique_ptr<net::Transport> transport_;
    net::PollLoop loop_;
    UplinkCore core_;
    UplinkOut out_;
    net::ConnId conn_ = 0;
    base::Time stop_by_ = base::kNever;
    base::Time tick_at_{};  ///< When the master is to hear from us.
    bool orphaned_ = false;
};

}  // namespace

int run_uplink(const supervisor::WorkerBirth& birth) {
    supervisor::set_process_title("forkmill-worker: uplink of pool " + birth.pool);
    const auto endpoint = net::parse_endpoint(birth.endpoint);
    if (!endpoint.ok()) {
        std::fprintf(stderr, "forkmill-worker: %s\n", endpoint.failure().text.c_str());
        return kConfig;
    }
    auto transport = net::make_client_transport(endpoint.value(),
                                                net::KeyNames{birth.server_key, birth.key_file});
    if (!transport.ok()) {
        std::fprintf(stderr, "forkmill-worker: %s\n", transport.failure().text.c_str());
        return kConfig;
    }
    return Uplink{birth, std::move(transport).value()}.run();
}

}  // namespace forkmill::worker
