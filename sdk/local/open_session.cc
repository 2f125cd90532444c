// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/open_session.h"

#include <unistd.h>

#include <utility>

#include "core/base/identity.h"
#include "sdk/src/remote.h"
#include "worker/loaded_images.h"

namespace forkmill {
inline namespace v0 {
namespace local {

detail::ClientPtr make_client(Dispatcher* dispatcher,
                              std::uint64_t stream,
                              std::shared_ptr<net::Wakeup>& wakeup) {
    wakeup = std::make_shared<net::Wakeup>();
    return std::make_shared<detail::Client>(
        dispatcher, stream, false, [weak = std::weak_ptr{wakeup}] {
            if (const auto there = weak.lock()) there->notify();
        });
}

detail::ClientPtr open_session(Dispatcher* dispatcher,
                               const SessionName& name,
                               std::unique_ptr<net::Transport> transport,
                               detail::Way way) {
    std::shared_ptr<net::Wakeup> wakeup;
    detail::ClientPtr client = make_client(dispatcher, name.stream, wakeup);
    session::ClientSessionConfig config;
    config.key = name.key;
    config.stream = name.stream;
    config.incarnation = name.incarnation;
    config.host = base::host_name();
    config.pid = ::getpid();
    config.build = worker::LoadedImages::of_this_process().program_build();
    client->set_backend(std::make_shared<detail::Remote>(
        *client, std::move(transport), std::move(config), std::move(wakeup), std::move(way)));
    return client;
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
