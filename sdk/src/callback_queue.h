// SPDX-License-Identifier: Apache-2.0
// CallbackQueue: runs what handles asked for once a task settles, in the order outcomes were
// recorded: on one thread of its own, made when first needed, or on the user's loop through a
// Dispatcher.
//
// Invariants: (1) one callback at a time, in order of post(); (2) a callback that throws is
// reported to the log handler, the rest go on; (3) after stop() nothing runs but what a surviving
// handle asks for, on its own thread. Its length is bounded
// by what is unsettled plus what was posted: credit for results is granted as callbacks finish.
// Threading: any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "sdk/src/pending.h"

namespace forkmill {
inline namespace v0 {

class Dispatcher;

namespace detail {

class Client;
class DispatcherCore;

class CallbackQueue final : public JobQueue {
  public:
    explicit CallbackQueue(Dispatcher* dispatcher);
    ~CallbackQueue() override;

    /// The table whose slots jobs name, and whose bytes callbacks unpack. Before the first post().
    void attach(PendingTable& table, Client* owner = nullptr) {
        table_ = &table;
        owner_ = owner;
    }
    void post(std::vector<Job>& batch) override;
    /// Somebody wants callbacks: makes the thread unless a dispatcher serves. The thread shares
    /// `keep`, so that the last handle may go in a callback.
    void start(std::shared_ptr<void> keep);
    /// Runs one due job on this thread. False: none was due.
    bool run_one();
    /// True on the thread that runs a callback of this queue just now.
    bool on_this_thread() const;
    /// Sleeps until everything posted has run, or `until`. With a dispatcher that is the program's
    /// affair: true at once.
    bool wait_idle(base::Time until);
    /// Lets everything posted so far run, on this thread if need be, then ends the thread. The
    /// dispatcher hears no more of this queue.
    void stop();

  private:
    void loop();

    void run_guarded(Job& job);

    PendingTable* table_ = nullptr;
    Client* owner_ = nullptr;
    std::shared_ptr<DispatcherCore> dispatcher_;
    std::mutex mutex_;
    std::condition_variable due_;
    std::condition_variable idle_;
    std::deque<Job> jobs_;
    bool busy_ = false;  ///< The thread runs a batch.
    bool started_ = false;
    bool stopping_ = false;
    bool stopped_ = false;
    std::thread thread_;
    std::mutex running_;  ///< Held while a callback runs: keeps a dispatcher and stop() from
                          ///< running two at once.
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
