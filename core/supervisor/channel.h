// SPDX-License-Identifier: Apache-2.0
// What a master and its children tell each other: fixed records over one SOCK_SEQPACKET pair per
// child.
//
// The same records travel master ↔ router, master ↔ uplink (worker hosts), master ↔ worker, and
// embedded program ↔ fork server; both ends are always the same build on the same host, so plain
// structs are safe. Invariants: (1) one packet = one Notice, whole; (2) a channel's EOF means that
// the other end is dead; (3) neither end ever blocks on a channel: a full one is the peer's death
// sentence at the master, a retry at a child; (4) what was received is within bounds: counts and
// sizes are cut to what the record holds. Threading: a Channel belongs to one thread.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/base/result.h"
#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

/// Why a child ended, as far as its parent can tell.
enum class Cause : std::uint8_t {
    Unknown,
    Exit,
    Signal,
    Oom,
    HardTimeout,
    StartTimeout,
    Recycle,
    Drain,
    Killed,
    HostLost,
    Hung,  ///< Its I/O thread stood still.
};

std::string_view name_of(Cause cause);

inline constexpr std::size_t kLeasesInNotice = 16;
inline constexpr std::size_t kStderrTail = 2048;

enum class Verb : std::uint8_t {
    // parent → router, uplink or broker thread
    Born,     ///< A worker process was started: pool, slot, pid, generation.
    Ready,    ///< It said Ready on its channel.
    Died,     ///< It was reaped: cause, detail, the leases its scoreboard cells held, stderr tail.
    Stopped,  ///< It was seen SIGSTOPped.
    Continued,  ///< It runs again.
    Roster,  ///< End of the list of living workers told to a fresh router (detail = their number).
    // parent → any child
    Drain,   ///< Finish what is held, then exit 0 (detail = milliseconds, 0: no limit).
    Stop,    ///< End now, orderly, bounded.
    Reopen,  ///< Reopen logs.
    // child → parent
    Up,       ///< The child is ready for work (a router: bound and serving).
    Kill,     ///< Kill worker `slot` of `pool` with pid `pid` (it did not obey); cause says why.
    Recycle,  ///< I, a worker, am about to leave on purpose: start my replacement
              ///< (max_tasks_per_child, hard timeout, cancel(kill)).
    Failed,   ///< I cannot start: text says why (initializer, module).
    Spawn,    ///< To a fork server: start a worker; the packet carries its socket, channel and
              ///< scoreboard fds.
    // child → parent, too. Behind the others, because HOST records carry these numbers.
    Emptied,   ///< I, a worker that leaves, run nothing any more; I only see my results through.
    Ageing,    ///< I, a worker, will soon have to leave on purpose: start my replacement; I work on
               ///< until I am told to drain, or have to go.
    Tick,      ///< I, a relay, turn: about every 2 s.
    Pressure,  ///< So many tasks (detail) wait for workers of `pool`: of a router, where sizes
               ///< vary.
    Threaded,  ///< I, a fork server, have several threads (detail), so I fork nobody.
    // program → fork server, too
    Signal,  ///< One signal (detail) for process `pid`.
    // process of a program → embedded broker
    Knock,  ///< The packet carries a connected socket: serve it.
};

struct Notice {
    Verb verb{};
    Cause cause{};
    std::uint16_t pool =
        0;  ///< Index of the pool in the config (embedded: index of the Pool object).
    std::uint32_t slot = 0;
    std::int32_t pid = 0;
    std::uint32_t generation = 0;  ///< Of this slot's process, raised at each birth.
    std::int32_t detail = 0;       ///< Exit code, signal number, milliseconds: see the verb.
    std::uint64_t rss_peak = 0;    ///< Died: bytes, as ChildEvent has them; 0: not known.
    std::uint8_t core_dumped = 0;  ///< Died: 1 if the kernel wrote a core.
    std::uint32_t lease_count = 0;
    std::array<std::uint64_t, kLeasesInNotice>
        leases{};  ///< Running at death; several only with threads > 1.
    std::uint16_t text_size = 0;
    std::array<char, kStderrTail> text{};  ///< Last stderr bytes or a reason; not terminated.

    std::string_view text_view() const { return {text.data(), text_size}; }
    void set_text(std::string_view t) {
        text_size = static_cast<std::uint16_t>(t.size() < kStderrTail ? t.size() : kStderrTail);
        for (std::size_t i = 0; i < text_size; ++i)
            text[i] = t[t.size() - text_size + i];  // The tail says more than the head.
    }
};
static_assert(std::is_trivially_copyable_v<Notice> && std::is_standard_layout_v<Notice>);
inline constexpr std::size_t kNoticeHead = offsetof(Notice, text);  ///< A packet without a text.

std::string_view name_of(Verb verb);

inline constexpr std::size_t kFdsInPacket = 8;
inline constexpr std::size_t kBacklogMax =
    8192;  ///< Notices that wait for a slow reader; at the bound the channel counts as closed.

/// One packet as received: a Notice and the descriptors that came with it.
struct Packet {
    Notice notice;
    std::vector<OwnedFd> fds;
};

/// One end of a channel.
class Channel {
  public:
    enum class Sent : std::uint8_t { Whole, Full, Closed };

    Channel() = default;
    /// Takes the descriptor over and makes it non-blocking and close-on-exec.
    explicit Channel(OwnedFd fd);

    /// Two connected ends.
    static base::Result<std::array<Channel, 2>> pair();

    int fd() const { return fd_.get(); }
    /// The other end is dead, or said what is no Notice. Packets received before are still handed
    /// out.
    bool closed() const { return closed_; }

    /// Sends now or not at all. REQUIRES: fds.size() ≤ kFdsInPacket
    Sent send(const Notice& notice, std::span<const int> fds = {});

    /// Sends, or keeps the notice (and duplicates of the descriptors) until flush(); false when
    /// closed or at kBacklogMax.
    bool post(const Notice& notice, std::span<const int> fds = {});
    /// Sends what post() kept, as far as it fits; false when closed. Call it when the fd is
    /// writable.
    bool flush();
    /// Something waits for flush(): poll for writing too.
    bool has_backlog() const { return !backlog_.empty(); }

    /// The next packet; nullopt when there is none now, or ever again (closed()).
    std::optional<Packet> receive();

  private:
    OwnedFd fd_;
    bool closed_ = false;
    std::deque<Packet> backlog_;
};

}  // namespace forkmill::supervisor
