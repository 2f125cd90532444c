// SPDX-License-Identifier: Apache-2.0
// Locks whose word lies in memory that the sessions' processes share: taken and given without us,
// and gripped when we must know or somebody must wait.
#include "broker/engine/objects.h"

namespace forkmill::engine {

Objects::~Objects() {
    for (auto& [id, object] : by_id) end_word(*object);
}

/// A new lock's, if there is one left.
void Objects::give_word(Object& lock) {
    if (config.lock_words == nullptr || lock.kind() != wire::ObjectKind::Lock) return;
    lock.word = config.lock_words->allot();
    if (!lock.word) return;
    config.lock_words->at(*lock.word).begin(token);
    lock.gripped = true;
    idle.push_back(lock.id);
}

/// REQUIRES: nobody waits for it. Whoever takes it for his finds it gripped.
void Objects::end_word(Object& lock) {
    if (!lock.word) return;
    // What is made later under the same name must not repeat a token.
    token = std::max(token, config.lock_words->at(*lock.word).grip().token + 1);
    config.lock_words->give_back(*lock.word);
    lock.word.reset();
}

/// What an Open's answer says of the word: where it is, from 1, and the session's mark; 0 without.
std::uint64_t Objects::place_of(const Object& lock, SessionIx ix) {
    if (!lock.word) return 0;
    Member& asker = member(ix);
    asker.worded.insert(lock.id);
    while (asker.mark == 0)
        if (++newest_mark != 0 && marks.emplace(newest_mark, ix).second) asker.mark = newest_mark;
    const std::uint64_t use = config.lock_words->at(*lock.word).use();
    return (use << base::kLockWordBits | (*lock.word + 1)) << 32 | asker.mark;
}

/// Whoever had it by its word holds it as if we had granted it.
void Objects::grip(Object& lock) {
    if (!lock.word) return;
    idle.push_back(lock.id);
    if (lock.gripped) return find_owner(lock);
    const base::LockWord::Hold hold = config.lock_words->at(*lock.word).grip();
    lock.holder = holder_by(hold);
    // Whoever took it for a session that had ended, or was given up before, is as good as dead.
    lock.owner_died = hold.died || (hold.mark != 0 && !lock.holder);
    lock.gripped = true;
    if (lock.holder) member(lock.holder->owner.session).holding.insert(lock.id);
}

std::optional<Holder> Objects::holder_by(const base::LockWord::Hold& hold) const {
    const auto session = marks.find(hold.mark);
    if (session == marks.end() || is_given_up(session->second)) return std::nullopt;
    return Holder{Owner::unpacked(session->second, hold.owner), 1, hold.token};
}

/// It may have been gripped before the word told more than the session.
void Objects::find_owner(Object& lock) {
    if (!lock.holder || lock.holder->owner.packed() != 0) return;
    const base::LockWord::Hold hold = config.lock_words->at(*lock.word).look();
    lock.holder->owner = Owner::unpacked(lock.holder->owner.session, hold.owner);
}

/// What the session, or one attempt of it, took without us and has not given back.
void Objects::grip_left_by(SessionIx ix, const std::uint64_t* attempt) {
    const Member& who = member(ix);
    for (const ObjectId id : who.worded) {
        Object& lock = *find(id);
        if (lock.gripped) {
            find_owner(lock);
            continue;
        }
        const base::LockWord::Hold hold = config.lock_words->at(*lock.word).look();
        if (hold.mark != who.mark) continue;
        const Owner owner = Owner::unpacked(ix, hold.owner);
        if (attempt == nullptr || (owner.task && owner.id == *attempt)) grip(lock);
    }
}

/// REQUIRES: gripped, and nobody waits for it.
void Objects::let_go(Object& lock) {
    base::LockWord& word = config.lock_words->at(*lock.word);
    if (!lock.holder) {
        word.let_go(0, 0, std::exchange(lock.owner_died, false));
    } else {
        const Owner owner = lock.holder->owner;
        const std::uint32_t mark = member(owner.session).mark;
        // One that acquired it twice releases it twice; one without a mark knows of no words.
        if (lock.holder->depth != 1 || mark == 0) return;
        lock.holder.reset();
        refresh_holding(lock, owner.session);
        if (lock.handles.count(owner.session) != 0) member(owner.session).worded.insert(lock.id);
        word.let_go(mark, owner.packed(), false);
    }
    lock.gripped = false;
}

void Objects::let_go_idle() {
    for (const ObjectId id : std::exchange(idle, {})) {
        Object* lock = find(id);
        if (lock != nullptr && lock->gripped && lock->lines[kTakers].size == 0) let_go(*lock);
    }
}

/// Of a lock or a barrier.
std::optional<Holder> Objects::holder_of(const Object& object) const {
    if (!object.word || object.gripped) return object.holder;
    return holder_by(config.lock_words->at(*object.word).look());
}

std::uint64_t Objects::draw_token(const Object& lock) {
    return lock.word ? config.lock_words->at(*lock.word).draw() : next_token();
}

}  // namespace forkmill::engine
