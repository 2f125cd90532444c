// SPDX-License-Identifier: Apache-2.0
// What a master answers to those who ask it on its control socket.
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <type_traits>

#include "core/base/log.h"
#include "core/supervisor/master_impl.h"

namespace forkmill::supervisor {

namespace {

/// A JSON string. Bytes that are no text (a crash report may hold any) become question marks.
std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char each : text) {
        const auto byte = static_cast<unsigned char>(each);
        if (each == '"' || each == '\\') out += '\\';
        if (each == '\n')
            out += "\\n";
        else if (each == '\t')
            out += "\\t";
        else
            out += byte < 0x20 || byte > 0x7e ? '?' : each;
    }
    return out + "\"";
}

template <class T>
requires std::is_arithmetic_v<T> std::string field(std::string_view name, T number) {
    return quoted(name) + ":" + std::to_string(number);
}

std::string field(std::string_view name, std::string_view text) {
    return quoted(name) + ":" + quoted(text);
}

/// JSON's own true and false; a function of its own, because text would convert to bool.
std::string flag(std::string_view name, bool set) {
    return quoted(name) + (set ? ":true" : ":false");
}

std::string object(std::initializer_list<std::string> fields) {
    std::string out;
    for (const std::string& each : fields) out += (out.empty() ? "{" : ",") + each;
    return out + "}";
}

std::string list(const std::vector<std::string>& items) {
    std::string out;
    for (const std::string& each : items) out += (out.empty() ? "[" : ",") + each;
    return out.empty() ? "[]" : out + "]";
}

}  // namespace

void Master::Impl::open_control() {
    if (spec_.control_path.empty()) return;
    base::Result<Control> control = Control::open(spec_.control_path);
    if (!control) {
        // Signals still work, so that is no reason to refuse all service.
        base::log_line(
            base::LogLevel::Warning, "no control socket", {{"why", control.failure().text}});
        return;
    }
    control_.emplace(std::move(control).value());
    static_cast<void>(watcher_->watch(control_->fd(), {.kind = Watched::Kind::Control}));
}

void Master::Impl::on_control(std::uint32_t number, base::Time now) {
    if (number == 0) {
        while (const auto asker = control_->accept())
            static_cast<void>(watcher_->watch(
                asker->fd, {.kind = Watched::Kind::Control, .slot = asker->number}));
        return;
    }
    const int fd = control_->fd_of(number);
    const auto request = control_->request(number);
    if (!request) {
        if (!control_->is_open(number)) std::erase(waiting_askers_, number);
        return;
    }
    watcher_->forget(fd);
    if (request->empty()) return control_->answer(number, false, "nothing was asked");
    const std::string& verb = request->front();
    if (verb == "status") return control_->answer(number, true, status_json());
    if (verb == "crashes") return control_->answer(number, true, crashes_json());
    if (verb == "set") return set_workers(number, *request, now);
    const SignalRow* row = find_verb(verb);
    if (row == nullptr) return control_->answer(number, false, "unknown verb " + verb);
    base::log_line(base::LogLevel::Info, "order", {{"verb", verb}});
    const bool waits = row->first == Order::Reload || row->first == Order::Upgrade;
    if (waits && (reloading_ || phase_ != Phase::Running))
        return control_->answer(
            number, false, "a reload or an upgrade is under way, or the start, or the end");
    // A reload's asker hears how it ended. So does an upgrade's, unless it succeeds: then its
    // connection ends with the program.
    if (waits)
        waiting_askers_.push_back(number);
    else
        control_->answer(number, true, "");
    obey(row->first, now);
    if (waits && !reloading_ && std::erase(waiting_askers_, number) != 0)
        control_->answer(number, false, "this master cannot do that; its log says why");
}

void Master::Impl::answer_reload() {
    for (const std::uint32_t number : std::exchange(waiting_askers_, {}))
        control_->answer(number, !reload_failed_, reload_why_);
}

void Master::Impl::set_workers(std::uint32_t number,
                               const std::vector<std::string>& request,
                               base::Time now) {
    std::uint32_t wanted = 0;
    const bool good =
        request.size() == 3 &&
        std::from_chars(request[2].data(), request[2].data() + request[2].size(), wanted).ptr ==
            request[2].data() + request[2].size();
    if (!good) return control_->answer(number, false, "expected: set POOL WORKERS");
    for (std::uint16_t pool = 0; pool < pool_count(); ++pool) {
        PoolSlots& slots = pools_[pool].slots;
        if (pools_[pool].spec.name != request[1] || slots.closed()) continue;
        pools_[pool].drained = false;
        const bool done =
            phase_ == Phase::Running && !slots.rolling() && slots.resize(wanted, now, actions_);
        act(pool, now);
        return control_->answer(number,
                                done,
                                done ? std::string{}
                                     : "it has room for 1 to " +
                                           std::to_string(slots.capacity() * 10 / 11) +
                                           " workers, and is not to roll");
    }
    control_->answer(number, false, "no pool " + request[1]);
}

std::string Master::Impl::status_json() const {
    const char* phase = phase_ == Phase::Boot      ? "starting"
                        : phase_ == Phase::Running ? "running"
                                                   : "stopping";
    std::vector<std::string> pools;
    for (const Pool& pool : pools_) {
        const PoolSlots& slots = pool.slots;
        pools.push_back(object(
            {field("name", pool.spec.name),
             field("workers", slots.workers()),
             field("ready", slots.count(SlotState::Ready)),
             field("starting", slots.count(SlotState::Starting)),
             field("draining", slots.count(SlotState::Draining)),
             field("suspended", slots.count(SlotState::Suspended)),
             field("backoff", slots.count(SlotState::Backoff)),
             field("failed", slots.count(SlotState::Failed)),
             field("unkillable", slots.count(SlotState::Unkillable)),
             field("version", slots.version()),
             field("fork_server_pid", pool.forks.server ? pool.forks.server->process.pid : 0),
             field("state",
                   slots.closed()    ? "closed"
                   : slots.broken()  ? "broken"
                   : slots.rolling() ? "rolling"
                                     : "whole")}));
    }
    return object({field("pid", ::getpid()),
                   field("phase", phase),
                   field("reloading", reloading_ ? 1 : 0),
                   field("relay", name_of(relay_slot_.state())),
                   field("relay_pid", relay_ ? relay_->process.pid : 0),
                   quoted("pools") + ":" + list(pools)});
}

void Master::Impl::record_crash(const Child& child, const Notice& notice, base::Time now) {
    crashes_.push_back({notice,
                        pools_[child.pool].spec.name,
                        base::wall_now(),
                        now - child.born,
                        notice.lease_count});
    if (crashes_.size() > kCrashesMax) crashes_.pop_front();
}

std::string Master::Impl::crashes_json() const {
    std::vector<std::string> items;
    std::size_t size = 0;
    for (auto crash = crashes_.rbegin(); crash != crashes_.rend(); ++crash) {
        const auto uptime = std::chrono::duration_cast<std::chrono::milliseconds>(crash->uptime);
        items.push_back(object({field("pool", crash->pool),
                                field("slot",
                                      crash->notice.slot == kForkServerSlot
                                          ? -1
                                          : static_cast<std::int64_t>(crash->notice.slot)),
                                field("pid", crash->notice.pid),
                                field("birth", crash->notice.generation),
                                field("cause", name_of(crash->notice.cause)),
                                field("detail", crash->notice.detail),
                                flag("core", crash->notice.core_dumped != 0),
                                field("rss_peak", crash->notice.rss_peak),
                                field("at_ms", crash->at / 1'000'000),
                                field("uptime_ms", uptime.count()),
                                field("running", crash->running),
                                field("report", crash->notice.text_view())}));
        size += items.back().size() + 1;
        if (size > Control::kAnswerMax - 16) {
            items.pop_back();  // The older ones do not fit.
            break;
        }
    }
    return object({quoted("crashes") + ":" + list(items)});
}

}  // namespace forkmill::supervisor
