// SPDX-License-Identifier: Apache-2.0
// Master::Impl: the members that master.cc (the life), master_children.cc (births and deaths),
// master_forks.cc (births by fork), master_orders.cc (what it is told), master_reload.cc (new
// configs), master_upgrade.cc (a new program), master_watch.cc (limits), master_control.cc (who
// asks) and master_report.cc (who is told) share.
//
// Invariants: as in master.h; (5) a Child's descriptors are watched exactly while it has them.
// Threading: the process's only thread.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/supervisor/cgroup.h"
#include "core/supervisor/channel.h"
#include "core/supervisor/control.h"
#include "core/supervisor/escapes.h"
#include "core/supervisor/handover.h"
#include "core/supervisor/master.h"
#include "core/supervisor/master_parts.h"
#include "core/supervisor/pool_slots.h"
#include "core/supervisor/reaper.h"
#include "core/supervisor/signals.h"
#include "core/supervisor/watcher.h"

namespace forkmill::supervisor {

inline constexpr std::uint16_t kProbePool = kRelayPool - 1;  ///< In Watched: the probe.

class Master::Impl {
  public:
    Impl(MasterSpec spec, const MasterReports& reports)
        : spec_(std::move(spec)), reports_(reports) {}
    int run(const SavedMaster* saved);

  private:
    enum class Phase : std::uint8_t {
        Boot,  ///< The relay has not been up yet.
        Running,
        Stopping,       ///< Workers drain; the relay serves them.
        StoppingRelay,  ///< The last worker is gone.
    };

    using Child = parts::Child;
    using Forks = parts::Forks;
    using Pool = parts::Pool;
    using Probe = parts::Probe;
    using Crash = parts::Crash;
    using Shown = parts::Shown;
    static std::string text_of(const Shown& shown);
    static constexpr std::size_t kCrashesMax = 100;

    // master.cc: the life.
    base::Status prepare();
    base::Status make_pools();
    base::Time next_deadline(base::Time now) const;
    void dispatch(const Watched& event, base::Time now);
    void advance(base::Time now);
    void advance_relay(base::Time now);
    bool wants_relay() const;
    bool is_over() const;

    // master_children.cc: births and deaths.
    base::Status launch(std::optional<Child>& place, Child fresh, const CommandBuilder& command);
    bool watch(Child& child);
    bool watch_ends(Child& child);
    /// A config names at most broker::kPoolsMax pools.
    std::uint16_t pool_count() const { return static_cast<std::uint16_t>(pools_.size()); }
    base::Result<std::array<OwnedFd, 2>> connect(Child& fresh);
    void launch_worker(std::uint16_t pool, std::uint32_t slot, base::Time now);
    void on_born(Child& child);
    void launch_relay(base::Time now);
    void tell_roster(base::Time now);
    void reap(base::Time now);
    void on_worker_death(Child& child, const ChildEvent& death, base::Time now);
    void on_relay_death(const ChildEvent& death, base::Time now);
    void on_pause(Child& child, const ChildEvent& event, base::Time now);
    void listen_to_the_last(Child& child, base::Time now);
    void bury(std::optional<Child>& place);
    void signal(Child& child, int signo);
    bool was_out_of_memory(const Child& child);
    Notice notice_of_death(const Child& child, const ChildEvent& death, Cause doom);
    void stop_if_misconfigured(std::uint16_t pool, const Ending& ending, base::Time now);

    // master_forks.cc: births by fork.
    static bool forks_workers(const Pool& pool);
    base::Status order_birth(std::optional<Child>& place, Child fresh);
    void ask_for_births(std::uint16_t pool, base::Time now);
    void read_birth(Child& child, base::Time now);
    void register_birth(Child& child, const Notice& notice, base::Time now);
    void bury_birth(Child& child, base::Time now);
    void fail_births(std::uint16_t pool,
                     const std::vector<std::uint32_t>& slots,
                     const Ending& ending,
                     std::string_view why,
                     base::Time now);
    void fail_birth(Child& child, const Ending& ending, std::string_view why, base::Time now);
    void act_on_birth(Child& child, PoolAction::Kind kind, base::Time now);
    void tend_fork_server(std::uint16_t pool, base::Time now);
    base::Status launch_fork_server(std::uint16_t pool, base::Time now);
    void on_fork_server_notice(std::uint16_t pool, const Notice& notice, base::Time now);
    void on_fork_server_death(std::uint16_t pool, const ChildEvent& death, base::Time now);
    void act_on_fork_server(std::uint16_t pool, SlotAct act);
    std::vector<std::uint32_t> unborn(std::uint16_t pool) const;

    // master_orders.cc: what it is told, and what it does about it.
    void take_signals(base::Time now);
    void obey(Order order, base::Time now);
    void stop(base::Duration limit, int exit_code, base::Time now);
    void stop_now(int exit_code, base::Time now);
    void resize(bool more, base::Time now);
    void drain_workers(base::Time now);
    void reopen();
    void read_channel(Child& child, base::Time now);
    void on_worker_notice(Child& child, const Notice& notice, base::Time now);
    void on_relay_notice(const Notice& notice, base::Time now);
    void act(std::uint16_t pool, base::Time now);
    void act_on(std::uint16_t pool, const PoolAction& action, base::Time now);
    void tell_of(std::uint16_t pool, const PoolAction& action);
    void tell_broken(std::uint16_t pool);
    void act_on_relay(SlotAct act);
    void tell(Child& child, const Notice& notice, std::span<const int> fds = {});
    void tell_relay(const Notice& notice);

    // master_watch.cc: signs of life, limits.
    void watch_children(base::Time now);
    void fit_to_load(std::uint16_t pool, base::Time now);
    void watch_worker(Child& child, const WatchRules& rules, base::Time now);
    void tell_escapes(base::Time now);

    // master_report.cc: who is told how it goes.
    void report(base::Time now);
    void report_end(int exit_code);

    // master_control.cc: those who ask.
    void open_control();
    void on_control(std::uint32_t number, base::Time now);
    void answer_reload();
    void set_workers(std::uint32_t number, const std::vector<std::string>& request, base::Time now);
    std::string status_json() const;
    std::string crashes_json() const;
    void record_crash(const Child& child, const Notice& notice, base::Time now);

    // master_upgrade.cc: a new program.
    void upgrade(base::Time now);
    SavedMaster save(std::vector<int>& kept);
    void execute_in_place();
    base::Status take_over(const SavedMaster& saved, base::Time now);
    Pool adopt_pool(const PoolSpec& spec, Scoreboard board);
    void adopt_children(std::uint16_t index, const SavedPool& old, base::Time now);
    void adopt_child(std::optional<Child>& place, std::uint16_t pool, const SavedChild& saved);
    void sweep_cgroups(base::Time now);

    // master_reload.cc: new configs.
    base::Result<Pool> make_pool(const PoolSpec& spec);
    void reload(base::Time now);
    base::Status start_probe(base::Time now, int handover_fd = -1);
    void on_probe_death(const ChildEvent& death, base::Time now);
    void apply(MasterSpec fresh, base::Time now);
    base::Status apply_pool(const PoolSpec& spec, base::Time now);
    void swap_relay(RelaySpec fresh, base::Time now);
    void take_back_relay();
    void fail_reload(std::string_view why);
    void check_reload(base::Time now);

    Child* find(std::uint16_t pool, std::uint32_t slot);
    bool is_own_child(pid_t pid) const {
        return places_.contains(pid) || (probe_ && pid == probe_->process.pid);
    }
    Watched name(const Child& child, Watched::Kind kind) const;
    std::string title(const Child& child) const;
    std::string stderr_prefix(const Child& child) const;
    Notice notice_of(Verb verb, const Child& child) const;

    MasterSpec spec_;
    const MasterReports reports_;
    Phase phase_ = Phase::Boot;
    int exit_code_ = kExitOk;
    Order stopping_by_ = Order::Reap;  ///< Stop, StopNow or Quit once one was given.
    std::optional<Watcher> watcher_;
    std::optional<SignalFd> signals_;
    std::optional<OomWatch> oom_;
    std::optional<Control> control_;
    std::vector<std::uint32_t> waiting_askers_;  ///< For the end of the reload.
    std::string reload_why_;                     ///< What of it failed.
    std::deque<Crash> crashes_;                  ///< The last kCrashesMax.
    std::deque<Pool> pools_;
    std::unordered_map<pid_t, std::pair<std::uint16_t, std::uint32_t>> places_;  ///< By pid.
    Slot relay_slot_;
    std::optional<RelaySpec> former_relay_;  ///< While its successor has not been up yet.
    bool swapping_relay_ = false;            ///< The present one was told to make room.
    std::optional<Probe> probe_;
    bool reloading_ = false;       ///< From the order until the last pool has rolled.
    bool reload_failed_ = false;   ///< A part of it was taken back.
    bool reload_pending_ = false;  ///< Asked for again meanwhile.
    bool upgrading_ = false;       ///< The probe is a rehearsal.
    std::uint64_t seed_ = 0;
    std::optional<RelayPolicy> relay_policy_;
    std::uint32_t relay_generation_ = 0;
    bool relay_up_ = false;    ///< This one said Up.
    base::Time relay_tick_{};  ///< Its last sign of life.
    base::Time watch_at_{};
    Escapes escapes_;
    Cgroups cgroups_;
    bool ready_told_ = false;
    bool stopping_told_ = false;
    bool reloading_told_ = false;
    base::Time orphans_until_{};
    base::Time roster_at_ = base::kNever;  ///< Then the relay learns who is missing.
    base::Time fed_at_{};                  ///< Of the service manager's watchdog.
    std::optional<Shown> shown_;           ///< As the service manager was told.
    std::optional<Child> relay_;
    PoolSlots::Actions actions_;
};

}  // namespace forkmill::supervisor
