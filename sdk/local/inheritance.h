// SPDX-License-Identifier: Apache-2.0
// Inheritance: the handles of shared objects among a Process's arguments, on their way from the
// parent to the child (docs/protocol.md §17.3).
//
// The parent opens a session per pool for the child and passes the handles to it, so they are
// counted there before the parent lets go of its own; the child takes these sessions over, each
// with an I/O thread. Invariants: (1) a session that was opened ends with the child, with the
// pool's own session, or here, if the child was never born; (2) the child's handles are in the
// order of its arguments. Threading: a Bequest belongs to the thread that starts the child; the
// child's half to its main thread.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "forkmill/detail/context_seam.h"
#include "sdk/local/birth_bytes.h"
#include "sdk/local/open_session.h"
#include "sdk/src/object_shared.h"

namespace forkmill {
inline namespace v0 {
namespace local {

/// What the child is told of one pool.
struct Heir {
    SessionName name;
    detail::Way way;
    std::span<base::LockWord> lock_words;  ///< At the same place in whatever is forked.
};
struct PassedHandle {
    std::uint32_t heir = 0;  ///< Index of its pool's.
    detail::Shared::Identity identity;
};

/// The parent's half.
class Bequest {
  public:
    Bequest() = default;
    /// Waits until the brokers have counted the handles. Throws what an open throws, and UsageError
    /// for handles of a task's pool.
    explicit Bequest(const std::vector<detail::SharedPtr>& handles);
    ~Bequest();
    Bequest(const Bequest&) = delete;
    Bequest& operator=(const Bequest&) = delete;

    /// The descriptors that the child must have too, in the order of `heirs`.
    std::vector<int> doors() const;
    void write(BirthWriter& writer) const;
    /// The sessions end with it from now on.
    void born(const detail::Sentinel& sentinel);

  private:
    std::uint32_t heir_of(const detail::SharedPtr& handle);

    std::vector<detail::ClientPtr> clients_;  ///< By heir.
    std::vector<Heir> heirs_;
    std::vector<PassedHandle> handles_;
    bool born_ = false;
};

/// The child's half.
class Inheritance {
  public:
    /// The doors are those of Bequest::doors(), in their order.
    void read(BirthReader& reader, std::vector<supervisor::OwnedFd> doors);
    /// Opens the sessions; from now on this thread unpacks the handles, and context().pool() is the
    /// first one's pool. Forks the fork server before, because threads follow. Throws UsageError.
    void enter();
    /// Ends the sessions, orderly.
    void leave() noexcept;

  private:
    std::vector<Heir> heirs_;
    std::vector<PassedHandle> handles_;
    std::vector<detail::ClientPtr> clients_;
    std::deque<detail::SharedPtr> passed_;
    detail::TaskContext context_;
};

}  // namespace local
}  // namespace v0
}  // namespace forkmill
