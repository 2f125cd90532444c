// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/stderr_tail.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <utility>

namespace forkmill::supervisor {

namespace {

/// stderr is shared with others, so it cannot be made non-blocking. A pipe that polls writable
/// takes PIPE_BUF bytes at once.
bool can_write_stderr() {
    pollfd stderr_poll{STDERR_FILENO, POLLOUT, 0};
    return ::poll(&stderr_poll, 1, 0) == 1 && (stderr_poll.revents & POLLOUT) != 0;
}

}  // namespace

StderrTail::StderrTail(OwnedFd read_end, std::string prefix)
    : fd_(std::move(read_end)), prefix_(std::move(prefix)) {}

bool StderrTail::pump() {
    std::array<char, 4096> bytes;
    bool open = static_cast<bool>(fd_);
    for (std::size_t taken = 0; open && taken < kPumpMax;) {
        const ssize_t size = ::read(fd_.get(), bytes.data(), bytes.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == EAGAIN) break;
        open = size > 0;
        if (!open) break;
        const std::string_view more{bytes.data(), static_cast<std::size_t>(size)};
        taken += more.size();
        keep(more);
        pass_on(more);
    }
    if (!open && !line_.empty()) pass_on("\n");
    write_out(true);
    return open;
}

void StderrTail::keep(std::string_view bytes) {
    kept_.append(bytes);
    // Cut rarely: at twice the size, to one.
    if (kept_.size() > 2 * kKept) kept_.erase(0, kept_.size() - kKept);
}

void StderrTail::pass_on(std::string_view bytes) {
    constexpr std::size_t kLineMax = PIPE_BUF - 256;
    for (const char c : bytes) {
        if (c != '\n') line_ += c;
        if (c != '\n' && line_.size() < kLineMax) continue;
        if (output_.size() + prefix_.size() + line_.size() + 1 > PIPE_BUF) write_out(false);
        output_.append(prefix_).append(line_) += '\n';
        line_.clear();
    }
}

void StderrTail::write_out(bool everything) {
    if (output_.empty()) return;
    if (!can_write_stderr()) {
        ++dropped_;
        output_.clear();
        return;
    }
    [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, output_.data(), output_.size());
    output_.clear();
    if (everything && dropped_ > 0 && can_write_stderr()) {
        const std::string note = prefix_ + "(" + std::to_string(std::exchange(dropped_, 0)) +
                                 " pieces of output were dropped: stderr was full)\n";
        written = ::write(STDERR_FILENO, note.data(), note.size());
    }
}

}  // namespace forkmill::supervisor
