// SPDX-License-Identifier: Apache-2.0
// Connection: one synchronous session with a broker, for one command: questions, and at most one
// task.
//
// Invariants: (1) nothing waits without a limit but wait() of a task, and that ends when the broker
// is lost; (2) the destructor says BYE, so that an unsettled task which is not detached is
// cancelled. Threading: the caller's thread does everything; there is no other.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/ids.h"
#include "core/base/time.h"
#include "core/wire/codes.h"
#include "core/wire/objects.h"

namespace forkmill::cli {

struct Answer {
    wire::Code code = wire::Code::None;
    std::string body;  ///< JSON text, or the reason when `code` is set.
};

/// How the task ended. `body` is its packed result, or a packed wire::ErrorInfo.
struct Ended {
    wire::Outcome outcome = wire::Outcome::Succeeded;
    std::vector<std::byte> body;
};

class Connection {
  public:
    /// Returns once the broker welcomed us; Failure 69 when it did not within `limit`, 64 for an
    /// endpoint that cannot be.
    /// `admin`: it does what admins may.
    Connection(const std::string& endpoint, base::Duration limit, bool admin = false);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Failure 69 when no answer comes.
    Answer ask(std::string_view what, std::string_view argument = {});

    /// Asks for one operation on a shared object. Failure 69 when no answer comes.
    Answer operate(wire::ObjectVerb verb, std::uint64_t object);

    /// Starts the task of this connection. REQUIRES: none was started or attached.
    base::TaskId submit(std::string_view name,
                        std::string_view signature,
                        std::vector<std::byte> arguments,
                        bool detached);
    /// Makes a task of another session the one of this connection.
    void attach(const base::TaskId& task);
    void cancel(bool kill);
    /// Until the broker has taken the task; it may have ended by then. Failure 69 when it says
    /// nothing.
    void wait_accepted();
    bool accepted() const;
    /// How the task ended, or nullopt at the limit; base::Duration::max() is none.
    std::optional<Ended> wait(base::Duration limit);

  private:
    Answer wait_answer();

    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace forkmill::cli
