// SPDX-License-Identifier: Apache-2.0
// The raw limit beside which Forkmill's figures stand: a bare libzmq relay, client DEALER →
// ROUTER|ROUTER → worker DEALER and back, one message per task, nothing tracked, nothing retried.
// Same machine, same run, same payload.
#pragma once

#include <cstddef>
#include <string>

namespace bench {

struct RelayFigures {
    double per_second = 0;
    double p50_us = 0;  ///< Of the round trip, with one in flight.
    double p99_us = 0;
    double mb_per_second = 0;
};

/// `transport`: "ipc" or "tcp". Forks broker and workers, ends them, returns the client's figures.
/// `count` messages, `window` of them in flight.
RelayFigures run_relay(const std::string& transport,
                       int workers,
                       long count,
                       int window,
                       std::size_t bytes);

}  // namespace bench
