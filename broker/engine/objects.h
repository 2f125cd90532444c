// SPDX-License-Identifier: Apache-2.0
// Objects: shared queues, locks, dicts and their like, hosted by the engine (docs/protocol.md §17).
//
//   objects.cc        operations in, life      object_waits.cc    lines, deadlines, sessions
//   object_queue.cc   queues                   object_sync.cc     locks to barriers
//   object_words.cc   locks held without us    object_watch.cc    changes told, turns
//   object_data.cc    dicts, lists, arrays     object_check.cc    the invariants, rows
// Invariants: (1) an object lives while it has handles, is named by a kept item or a condition, or
// is persistent; its counts are the sums of what they count; (2) bytes accounted equal bytes held,
// and so do waits, watches and holdings; each is within its bound; (3) a wait is in one line and in
// its session's; (4) a lock has one holder at most, and tokens grow; (5) nothing that could go on
// waits: no item beside a getter that can take it, no free lock beside one who wants it; (6) a
// lock with a word is gripped while anybody waits for it; while it is not, only the word knows its
// holder.
// Threading: the engine's; the words of locks are everybody's (core/base/lock_words.h).
#pragma once

#include <algorithm>
#include <deque>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/engine/config.h"
#include "broker/engine/journal.h"
#include "broker/engine/object_tables.h"
#include "broker/engine/timers.h"

namespace forkmill::engine {

struct ObjectRow;

struct Objects {
    Objects(const Config& config, std::uint64_t incarnation);
    ~Objects();

    // Inputs (objects.cc, object_waits.cc, object_watch.cc).
    /// `memory_free`: what the broker may still hold.
    void operate(SessionIx ix,
                 bool admin,
                 std::uint64_t memory_free,
                 const wire::ObjectOp& op,
                 Step step);
    void refuse(SessionIx ix,
                const wire::ObjectOp& op,
                wire::Code code,
                std::string text,
                Step& step);
    wire::Code pass(SessionIx from,
                    SessionIx to,
                    const wire::ObjectOp& op,
                    wire::ObjectReply& reply);
    void set_session(SessionIx ix, bool connected, bool writable, Step step);
    void close_session(SessionIx ix, Step step);
    void end_attempt(SessionIx ix, std::uint64_t lease, Step step);
    /// The same once its process had time to die: its session's end comes first as a rule.
    void end_killed(SessionIx ix, std::uint64_t lease, base::Time now);
    void tick(Step step);
    void turn_over(Step step);
    base::Time next_timer() const {
        const base::Time next = killed.empty() ? base::kNever : killed.front().until;
        return hurried ? base::Time{} : std::min(next, timers.next());
    }
    bool has_handles(SessionIx ix) const { return knows(ix) && !members[ix]->objects.empty(); }
    /// False: nothing of it can be held.
    bool knows(SessionIx ix) const { return ix < members.size() && members[ix] != nullptr; }

    // Life (objects.cc).
    struct Call {
        SessionIx ix;
        const wire::ObjectOp& op;
        Step& step;
        Object* object;
        Owner owner() const { return {ix, op.owner, op.has(wire::kOpTask)}; }
        std::uint64_t count() const { return op.count == 0 ? 1 : op.count; }
    };
    void perform(SessionIx ix, const wire::ObjectOp& op, Step& step);
    void dispatch(Call& call);
    wire::Code judge(SessionIx ix, const wire::ObjectOp& op, std::string& text) const;
    void open(Call& call);
    void add_handle(Object& object, SessionIx ix, const wire::ObjectOp& op);
    wire::Code judge_shape(Call& call, std::string& text) const;
    Object* make(Call& call, wire::Code& code, std::string& text);
    void close(Call& call);
    void info(Call& call);
    void drop_handles(Object& object, SessionIx ix, const Handles& less, Step& step);
    void leave(Object& object, SessionIx ix, Step& step);
    void end_object(Object& object, Step& step);
    void check_life(Object& object);
    void settle(Step& step);
    Object* find(ObjectId id);
    Member& member(SessionIx ix);
    void send(SessionIx ix, wire::ObjectReply reply, Step& step, const Object* object = nullptr);
    void count_turn(SessionIx ix, std::uint64_t size);
    void say(const Call& call, wire::ObjectReply reply);
    void fail(const Call& call, wire::Code code, std::string text = {});
    std::uint64_t next_token() { return token++; }

    // Items (object_data.cc).
    StoredItem keep(const wire::ObjectItem& item);
    wire::ObjectItem show(std::string key, const StoredItem& item, SessionIx ix);
    void drop(Object& object, StoredItem& item, std::uint64_t more_cost);
    void charge(Object& object, std::uint64_t more, std::uint64_t less);
    void add_ref(ObjectId id);
    void drop_ref(ObjectId id);
    bool room_for(std::uint64_t more) const;
    std::string no_room(std::uint64_t more) const;

    // Waiting (object_waits.cc).
    bool may_wait(const Member& asker, std::string& text) const;
    WaitIx park(Call& call, LineName line);
    void link(WaitLine& line, WaitIx ix, bool of_session);
    void unlink(WaitLine& line, WaitIx ix, bool of_session);
    /// Out of its lines; what it held back is the caller's to take.
    Wait take_wait(WaitIx ix);
    void end_wait(WaitIx ix, wire::Code code, Step& step);
    void end_line(Object& object, LineName line, wire::Code code, Step& step);
    void wait_timer(WaitIx ix, Step& step);
    void abandon(WaitIx ix, wire::Code code, Step& step);
    void interrupt(Call& call);
    WaitIx first_ready(const WaitLine& line, bool with_values);
    bool reachable(SessionIx ix) const;
    bool is_given_up(SessionIx ix) const;
    bool deliverable(SessionIx ix) const;
    void serve(Object& object, Step& step);
    void serve_lines_of(SessionIx ix, Step& step);
    void defer(SessionIx ix, const wire::ObjectOp& op, Step& step);
    void resume(SessionIx ix, Step& step);
    void free_holdings(SessionIx ix, const std::uint64_t* attempt, Step& step);
    void refresh_holding(Object& object, SessionIx ix);

    // Queues (object_queue.cc).
    void put(Call& call);
    void get(Call& call);
    void done(Call& call);
    void join(Call& call);
    void shut(Call& call);
    bool is_full(const Object& queue, std::uint64_t cost) const;
    void give(Object& queue, SessionIx ix, std::uint64_t op, const Owner& owner, Step& step);
    void say_there(const Object& queue, SessionIx ix, std::uint64_t op, Step& step);
    void serve_queue(Object& queue, Step& step);
    void return_items(Object& queue, SessionIx ix, const std::uint64_t* attempt, Step& step);

    // Locks, semaphores, conditions, events, barriers (object_sync.cc).
    void acquire(Call& call);
    void release(Call& call);
    void wait(Call& call);
    void notify(Call& call);
    void reset(Call& call);
    void abort(Call& call);
    void break_lock(Call& call);

    // Locks that sessions take without us (object_words.cc).
    void give_word(Object& lock);
    void end_word(Object& lock);
    std::uint64_t place_of(const Object& lock, SessionIx ix);
    void grip(Object& lock);
    void find_owner(Object& lock);
    void grip_left_by(SessionIx ix, const std::uint64_t* attempt);
    void let_go(Object& lock);
    void let_go_idle();
    std::optional<Holder> holder_by(const base::LockWord::Hold& hold) const;
    std::optional<Holder> holder_of(const Object& object) const;
    std::uint64_t draw_token(const Object& lock);
    wire::Code judge_holder(const Object& lock, const Call& call) const;
    void grant(Object& lock,
               SessionIx ix,
               std::uint64_t op,
               const Owner& owner,
               std::uint64_t depth,
               wire::Code code,
               Step& step);
    void free_lock(Object& lock, bool died, Step& step);
    void release_semaphore(Call& call);
    void wait_condition(Call& call);
    void wait_barrier(Call& call);
    void wake(WaitIx ix, wire::Code code, Step& step);
    void complete(Object& barrier, Step& step);
    void go_on(Object& barrier, Step& step);
    void break_barrier(Object& barrier, Step& step);
    void serve_lock(Object& lock, Step& step);
    void serve_semaphore(Object& semaphore, Step& step);

    // Dicts, lists, arrays (object_data.cc).
    void read(Call& call);
    void write(Call& call);
    void erase(Call& call);
    void swap(Call& call);
    void add(Call& call);
    void read_dict(Call& call);
    void read_cells(Call& call);
    void write_dict(Call& call);
    void write_list(Call& call);
    void write_array(Call& call);
    bool place_of(const Call& call, std::uint64_t count, std::uint64_t& at);
    wire::Code fill(Object& object, const std::vector<wire::ObjectItem>& items);
    bool version_agrees(const Call& call);
    bool may_show(const Call& call, std::uint64_t size, std::uint64_t items);
    bool may_write(const Call& call, std::uint64_t size, std::uint64_t more);
    void set_cell(Object& array, std::uint64_t at, const wire::ObjectItem& item);

    // Watches (object_watch.cc).
    void watch(Call& call);
    void unwatch(Call& call);
    void drop_watch(std::uint32_t ix);
    void changed(Object& object, const std::string* key);
    void mark(std::uint32_t ix);
    void tell(std::uint32_t ix, wire::ObjectChange change, Step& step);

    // Looking in (object_check.cc).
    std::string check() const;
    ObjectRow row_of(const Object& object) const;
    /// ObjectKind{}: of every kind.
    std::vector<ObjectRow> rows(std::string_view prefix,
                                std::size_t most,
                                wire::ObjectKind kind) const;
    bool find_row(std::string_view which, ObjectRow& row) const;

    const Config& config;
    Journal* journal = nullptr;
    std::uint64_t position = 0;  ///< Of the last durable change.
    std::uint64_t first_token;   ///< Of this incarnation.
    std::uint64_t token;         ///< The next id of an object, grant or item's lease.
    std::uint64_t bytes = 0;     ///< Of all objects and of puts and operations that wait.
    std::uint64_t memory_free = 0;
    std::unordered_map<ObjectId, std::unique_ptr<Object>> by_id;
    std::map<std::string, ObjectId, std::less<>> by_name;
    std::vector<Wait> waits;
    std::vector<WaitIx> free_waits;
    std::uint64_t parked = 0;  ///< Waiting and deferred operations.
    std::vector<Watch> watches;
    std::vector<std::uint32_t> free_watches;
    std::uint64_t watching = 0;
    std::vector<std::uint32_t> dirty;              ///< Watches with something to tell.
    std::vector<std::unique_ptr<Member>> members;  ///< By session.
    std::deque<Killed> killed;                     ///< In order of time.
    std::vector<SessionIx> turn;                   ///< Members with turn_bytes.
    std::vector<ObjectId> ending;                  ///< To be looked at by settle().
    std::vector<ObjectId> idle;  ///< Gripped locks whose line may be empty; by settle() too.
    std::unordered_map<std::uint32_t, SessionIx> marks;
    std::uint32_t newest_mark = 0;
    bool hurried = false;  ///< The next turn has something to do at once.
    Timers timers;
};

}  // namespace forkmill::engine
