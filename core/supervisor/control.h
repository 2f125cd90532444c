// SPDX-License-Identifier: Apache-2.0
// Control: a socket in the state directory where every signal is also a verb with an answer.
//
// One SOCK_SEQPACKET connection carries one request (words, separated by blanks) and one answer:
// "ok\n" or "no\n" and a text. Invariants: (1) only the master's user and root are heard
// (SO_PEERCRED); (2) at most kAskersMax connections
// (one more ends the oldest), at most kRequestMax bytes each, no write ever
// blocks. Threading: one owner; ask_master() on any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

class Control {
  public:
    static constexpr std::size_t kAskersMax = 16;
    static constexpr std::size_t kRequestMax = 4096;
    static constexpr std::size_t kAnswerMax = 64 * 1024;

    /// Listens at `path`, which nobody else serves: its state directory is locked.
    static base::Result<Control> open(const std::string& path);
    Control(Control&&) noexcept = default;
    Control& operator=(Control&&) = delete;
    /// Removes the socket's file.
    ~Control();

    int fd() const { return listener_.get(); }
    /// The number and descriptor of a new connection; nullopt: nobody else is there.
    struct Asker {
        std::uint32_t number = 0;
        int fd = -1;
    };
    std::optional<Asker> accept();
    /// What it asks, in words; nullopt: nothing now. It is gone: is_open() turns false.
    std::optional<std::vector<std::string>> request(std::uint32_t number);
    bool is_open(std::uint32_t number) const { return askers_.contains(number); }
    /// Answers and closes. Close its watch first.
    void answer(std::uint32_t number, bool good, std::string_view text);
    int fd_of(std::uint32_t number) const;
    void close(std::uint32_t number) { askers_.erase(number); }

  private:
    Control(std::string path, OwnedFd listener)
        : path_(std::move(path)), listener_(std::move(listener)) {}

    std::string path_;
    OwnedFd listener_;
    std::map<std::uint32_t, OwnedFd> askers_;
    std::uint32_t next_ = 0;
};

struct MasterAnswer {
    bool good = false;
    std::string text;
};

/// Asks the master of `state_dir` and waits for its answer. The failure's number is ECONNRESET when
/// it went away meanwhile (as one that is upgraded does), ETIMEDOUT at the limit.
base::Result<MasterAnswer> ask_master(const std::string& state_dir,
                                      std::string_view request,
                                      base::Duration limit);

inline std::string control_path(const std::string& state_dir) {
    return state_dir + "/control.sock";
}

}  // namespace forkmill::supervisor
