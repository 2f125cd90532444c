// SPDX-License-Identifier: Apache-2.0
// Who is told how the master is: the service manager, the command that started it, ps.
#include <algorithm>

#include "core/supervisor/daemonize.h"
#include "core/supervisor/master_impl.h"
#include "core/supervisor/service_manager.h"

namespace forkmill::supervisor {

/// A relay says Tick every 2 s, however short the interval is that the manager asks for.
constexpr base::Duration kRelaySilence = std::chrono::seconds{5};

std::string Master::Impl::text_of(const Shown& shown) {
    return std::to_string(shown.ready) + "/" + std::to_string(shown.wanted) + " ready" +
           (shown.stopping    ? ", stopping"
            : shown.reloading ? ", reloading"
                              : "");
}

/// Ready is: the relay serves and every pool has all its workers. Told once, and after each reload.
void Master::Impl::report(base::Time now) {
    std::uint32_t wanted = 0;
    std::uint32_t ready = 0;
    bool whole = relay_up_;
    for (const Pool& pool : pools_) {
        if (pool.slots.closed()) continue;
        const std::uint32_t here = pool.slots.count(SlotState::Ready);
        wanted += pool.slots.workers();
        ready += std::min(here, pool.slots.workers());
        whole = whole && here >= pool.slots.workers();
    }
    const bool stopping = phase_ == Phase::Stopping || phase_ == Phase::StoppingRelay;
    const Shown shown{ready, wanted, stopping, reloading_ && !stopping};
    if (whole && !ready_told_ && !stopping && reports_.caller != nullptr) reports_.caller->ready();
    ServiceManager* manager = reports_.manager;
    if (manager == nullptr) {
        ready_told_ = ready_told_ || whole;
        return;
    }
    if (stopping && !std::exchange(stopping_told_, true)) manager->stopping();
    if (!stopping && reloading_ && !std::exchange(reloading_told_, true)) manager->reloading();
    const bool reloaded = !reloading_ && reloading_told_;
    if (!stopping && (reloaded || (whole && !ready_told_))) {
        manager->ready(text_of(shown));
        reloading_told_ = false;
        ready_told_ = true;
    }
    if (shown != shown_) {
        manager->status(text_of(shown));
        shown_ = shown;
    }
    // The manager's watchdog watches the relay through us: a master that lives is not enough.
    const base::Duration interval = manager->watchdog_interval();
    if (interval == base::Duration::max() || now < fed_at_ + interval) return;
    fed_at_ = now;
    const base::Duration silence = std::max<base::Duration>(2 * interval, kRelaySilence);
    if (phase_ != Phase::Running || now - relay_tick_ < silence) manager->watchdog();
}

void Master::Impl::report_end(int exit_code) {
    if (reports_.caller != nullptr) reports_.caller->failed(exit_code);
}

}  // namespace forkmill::supervisor
