// SPDX-License-Identifier: Apache-2.0
// OwnedFd: a file descriptor that is closed with its owner.
//
// Invariants: (1) one owner per descriptor; (2) −1 is "none". Threading: one owner.
#pragma once

#include <unistd.h>

#include <utility>

namespace forkmill::supervisor {

class OwnedFd {
  public:
    OwnedFd() = default;
    explicit OwnedFd(int fd) : fd_(fd) {}
    OwnedFd(OwnedFd&& other) noexcept : fd_(other.release()) {}
    OwnedFd& operator=(OwnedFd&& other) noexcept {
        if (this != &other) reset(other.release());
        return *this;
    }
    ~OwnedFd() { reset(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }

    /// Gives the descriptor away.
    int release() { return std::exchange(fd_, -1); }

    void reset(int fd = -1) {
        if (fd_ >= 0) ::close(fd_);
        fd_ = fd;
    }

  private:
    int fd_ = -1;
};

}  // namespace forkmill::supervisor
