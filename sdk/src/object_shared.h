// SPDX-License-Identifier: Apache-2.0
// Shared: one handle of an object as the broker counts it, behind all its copies in this process;
// Ask: one operation under way.
//
// Invariants: (1) a Shared closes its handle when it goes, unless its incarnation is over; (2) an
// Ask is settled once; its answer is written before `word` says so and constant afterwards; (3) a
// grant is what the broker said we own, with the proof of life it was given under. Threading: the
// fields say who; a Shared may go on any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/lock_words.h"
#include "core/base/time.h"
#include "core/net/unique_fd.h"
#include "core/wire/objects.h"
#include "forkmill/detail/object_seam.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// Who holds something: a task's attempt, else a thread of this process.
struct Holder {
    std::uint64_t number = 0;
    bool task = false;
    bool operator==(const Holder&) const = default;
};
/// Who calls, as the session of `client` knows it.
Holder current_holder(const Client& client);

/// A lock that is held, or an item that is lent.
struct Grant {
    Holder holder;
    std::uint64_t token = 0;
    std::uint64_t depth = 1;    ///< As the broker counts it;
    std::uint64_t again = 0;    ///< and how often its owner locked it again without telling.
    bool told = false;          ///< It was asked something under this lock: it releases it, too.
    bool waiting = false;       ///< A condition's wait was asked to give it away: it is nobody's.
    std::uint64_t silence = 0;  ///< Of the port when it was given.
    bool owner_died = false;
};

/// Whether a get would end at once, as a descriptor. Guarded by its queue's mutex.
class Readiness {
  public:
    bool peeking = false;  ///< The broker was asked.
    bool peeked = false;   ///< It said that there is something, or that there will be nothing.

    /// Throws Busy without descriptors.
    Readiness();
    int fd() const { return fd_.get(); }
    void show(bool readable);

  private:
    net::UniqueFd fd_;
    bool shown_ = false;
};

class Shared {
  public:
    struct Identity {
        std::uint64_t id = 0;
        wire::ObjectKind kind{};
        std::uint32_t role = 0;          ///< kOpReader, kOpWriter.
        std::uint64_t epoch = 0;         ///< Of the port: another one means that it is lost.
        bool leased = false;             ///< As far as this process knows.
        bool reentrant = false;          ///< A lock that only its owner releases.
        base::LockWord* word = nullptr;  ///< Of a lock, shared with its broker;
        std::uint32_t use = 0;           ///< which it serves while it is this one's;
        std::uint32_t mark = 0;          ///< this session's in it.

        /// By the place that an open's answer tells (protocol §17.4).
        void find_word(const Client& of, std::uint64_t place);
    };
    Shared(ClientPtr client, const Identity& identity);
    ~Shared();
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;

    const ClientPtr client;
    const Identity identity;

    std::mutex mutex;  // Guards the rest.
    std::vector<Grant> grants;
    std::deque<AskPtr> stash;              ///< Items that came and were not taken.
    std::function<void()> action;          ///< Of a barrier.
    std::atomic<bool> tokens{false};       ///< Items came with tokens: the queue is leased.
    std::unique_ptr<Readiness> readiness;  ///< Of a queue, once it was asked for.

    /// Shows what is known; true: the broker is to be asked, the caller sees to it. Locked by it.
    bool show_readiness();

    /// The grant of `holder`; with `any`, one of another thread if it has none. Locked by caller.
    std::vector<Grant>::iterator find(const Holder& holder, bool any);
    /// The one that its holder's wait for a condition has given away.
    std::vector<Grant>::iterator find_waiting(const Holder& holder);
};

class Ask : public std::enable_shared_from_this<Ask> {
  public:
    enum Word : std::uint32_t { kDone = 1, kSleepers = 2 };

    wire::ObjectOp op;  ///< Constant once asked.
    ClientPtr client;
    SharedPtr object;             ///< Null for an open.
    SharedPtr lock;               ///< What a condition's wait gives back.
    std::weak_ptr<Shared> peeks;  ///< Whom it tells that there is something.

    std::atomic<std::uint32_t> word{0};
    // The I/O side's until settled, constant afterwards.
    wire::Code code{};
    std::string text;
    Answer answer;
    std::vector<base::Blob> bodies;
    std::deque<std::string> keys;

    // Guarded by the port.
    std::vector<std::function<void()>> thens;
    std::vector<std::uint64_t> adopted;  ///< Handles the answer brought and nobody took.
    base::Time popped{};
    std::uint64_t epoch = 0;    ///< Of the port when it left,
    std::uint64_t silence = 0;  ///< and this.
    bool settled = false;
    bool interrupted = false;            ///< Who asked wants it to end.
    bool called_back = false;            ///< We do: what it waits for is kept in this process.
    std::atomic<bool> abandoned{false};  ///< Nobody wants it; calls ask without the lock.

    bool is_settled() const { return (word.load(std::memory_order_acquire) & kDone) != 0; }
    /// Sleeps until settled or `until`.
    bool wait(base::Time until);
    ~Ask();
};

/// What `holder` asks the broker next must come before its release of the lock.
/// `waits`: that gives the lock away, until its answer.
void tell_of_grant(const SharedPtr& lock, const Holder& holder, bool waits);
wire::ObjectOp release_of(std::uint64_t object, const Holder& holder, std::uint64_t token);
/// What the caller holds of a lock, if the handle names one.
std::optional<Grant> grant_of(const SharedPtr& lock);

class WatchState {
  public:
    ClientPtr client;
    SharedPtr object;
    std::uint64_t number = 0;  ///< `op` of the watch.
    std::function<void(const Change&)> handler;
    std::atomic<bool> over{false};
};

/// An operation on what `lock` protects, by the holder of that; with `lock` set the answer gives it
/// back.
AskPtr ask_under_lock(const SharedPtr& object,
                      Request request,
                      const SharedPtr& lock,
                      const Holder& holder);
/// Asks, waits, and throws unless it was done.
AskPtr perform(const SharedPtr& object, Request request);
/// An operation that is done: there was nothing to ask.
AskPtr nothing_to_ask(const SharedPtr& object);
/// The caller is the one who acts at a barrier before the others go on.
void act(Ask& ask);
/// Throws what `code` means for an operation on an object.
[[noreturn]] void throw_object(wire::Code code, const std::string& text, wire::ObjectVerb verb);
/// The client whose bytes are unpacked on this thread; null when nobody can know.
ClientPtr unpacking_client();
/// Handles that came with this process, in the order in which the bytes that are about to be
/// unpacked on this thread name them; null: none.
void set_passed(std::deque<SharedPtr>* handles) noexcept;
/// Bytes of `client` are about to be unpacked on this thread (null: of nobody known).
void set_viewed_client(Client* client) noexcept;

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
