// SPDX-License-Identifier: Apache-2.0
// Job: one leased task inside a worker; Hands: whoever runs jobs. What the worker's session (I/O
// thread) and its task threads share.
//
// Invariants: (1) a Job stays at its address until its Finished was collected or it was taken back;
// (2) between start() and Finished a task thread reads it and the I/O thread changes nothing in it
// but what is marked so. Threading: see each member.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/body.h"
#include "core/base/ids.h"
#include "core/base/time.h"
#include "core/wire/messages.h"
#include "worker/registry.h"

namespace forkmill::worker {

/// Bytes of a result: a few inside, more in a Blob. Tiny results cost no allocation and no shared
/// count.
class SmallBody {
  public:
    SmallBody() = default;
    explicit SmallBody(base::ByteView bytes) {
        if (bytes.size() <= inside_.size()) {
            size_ = static_cast<std::uint8_t>(bytes.size());
            if (!bytes.empty()) std::memcpy(inside_.data(), bytes.data(), bytes.size());
        } else {
            size_ = kOutside;
            blob_ = base::Blob::copy(bytes);
        }
    }
    explicit SmallBody(base::Blob blob) : size_(kOutside), blob_(std::move(blob)) {}

    base::ByteView view() const {
        return size_ == kOutside ? blob_.view() : base::ByteView{inside_.data(), size_};
    }
    std::size_t size() const { return size_ == kOutside ? blob_.size() : size_; }
    /// The form in which layers pass bodies on; its view lives as long as this object stays where
    /// it is.
    base::Body body() const {
        return size_ == kOutside ? base::Body::of(blob_) : base::Body::of(view());
    }

  private:
    static constexpr std::uint8_t kOutside = 255;
    std::array<std::byte, 23> inside_{};
    std::uint8_t size_ = 0;
    base::Blob blob_;
};

/// A template of the broker with what it leads to here. Found once per template, not per task.
struct Template {
    wire::TemplateDef def;
    Found found;
};

/// What most tasks do not have.
struct JobExtras {
    base::WallNanos deadline = 0;
    std::string trace;
    base::TaskId parent;
    std::vector<std::pair<std::uint32_t, base::ByteView>>
        dependencies;  ///< (argument, packed value), into `owners`.
    std::vector<base::Blob> owners;
};

enum class JobState : std::uint8_t {
    Free,
    Held,       ///< Waiting in the core itself.
    Given,      ///< With the hands: waiting there or running.
    Abandoned,  ///< Running, but its outcome was told or is nobody's any more: what it yields is
                ///< dropped.
};

struct Job {
    // Written by the I/O thread before start(), then constant.
    base::TaskId task;
    std::uint32_t attempt = 1;
    std::uint32_t crashes = 0;
    const Template* tmpl = nullptr;
    base::ByteView body;
    base::Blob owner;  ///< Keeps `body` alive; counted by the I/O thread only.
    std::unique_ptr<JobExtras> extras;

    // I/O thread only. A running job is given its new lease by Hands::rekey.
    std::uint64_t lease = 0;
    JobState state = JobState::Free;
    bool adopting = false;  ///< Told in HELD, not yet adopted by this incarnation.
    bool started_told = false;
    bool running_told = false;  ///< In the last HELD it was told as running.
    bool blocked = false;
    bool stop_asked = false;
    bool slow_told = false;
    std::uint32_t index = 0;  ///< In the core's table.

    // Task thread, while running.
    base::Time started{};
};

struct Finished {
    Job* job = nullptr;
    wire::Outcome outcome{};
    SmallBody body;
};

struct FinishedBatch {
    std::vector<Finished> list;
    base::Duration busy{};

    void clear() {
        list.clear();
        busy = {};
    }
};

struct Running {
    Job* job = nullptr;
    base::Time since{};
};

/// Runs jobs. The executor in a worker, a model in simulations. All calls come from the I/O thread.
class Hands {
  public:
    virtual ~Hands() = default;
    /// Runs them in this order, as threads become free.
    virtual void start(std::span<Job* const> jobs) = 0;
    /// True: it had not begun, is the caller's again and will yield no Finished.
    virtual bool take_back(Job& job) = 0;
    /// Asks the running job's code to stop; without effect on others.
    virtual void request_stop(Job& job) = 0;
    /// The running job is known to the broker as `lease` from now on (scoreboard).
    virtual void rekey(Job& job, std::uint64_t lease) = 0;
    /// Writes `head` and the stack of the thread that runs the job to the log.
    virtual void explain(Job&, std::string_view) {}
    /// Appends what runs now.
    virtual void running(std::vector<Running>& out) = 0;
};

}  // namespace forkmill::worker
