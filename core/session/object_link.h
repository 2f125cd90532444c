// SPDX-License-Identifier: Apache-2.0
// ObjectLink: where a session's operations on shared objects come from and their answers go.
//
// The same for a client of a daemon, a worker, and the client of an embedded pool. Operations leave
// in the order of the link. Bodies are whole on both sides: an item's BodyRef has its `body` and
// `size`, no transfer. Threading: none; it is called on the session's I/O thread only.
#pragma once

#include "core/base/time.h"
#include "core/wire/objects.h"

namespace forkmill::session {

class ObjectLink {
  public:
    virtual ~ObjectLink() = default;
    /// The next operation, the same one until pop_operation(); null when there is none now.
    virtual const wire::ObjectOp* peek_operation() = 0;
    /// The peeked operation is on its way: it will be answered, or lost with its incarnation.
    virtual void pop_operation() = 0;
    /// An answer, or a part of one (kReplyMore). Views are valid during the call; a blob or chunks
    /// may be shared.
    virtual void on_answer(const wire::ObjectReply& reply) = 0;
    virtual void on_event(const wire::ObjectEvent& event) = 0;
    /// A new incarnation: what was popped and not answered is lost, and so is every handle. What
    /// was not popped yet names objects that are gone, but for opens.
    virtual void on_objects_lost() = 0;
    /// A PING that left at `sent` was answered: the broker heard us then, or later.
    virtual void on_heard(base::Time sent) { static_cast<void>(sent); }
    /// Something may be held that silence ends: PINGs are due every ping_ms, whatever else is said.
    virtual bool wants_pings() const { return false; }
};

}  // namespace forkmill::session
