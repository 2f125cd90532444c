// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <utility>

#include "core/supervisor/fd_text.h"

namespace forkmill::supervisor {

namespace {

/// At most 64 bytes: all that a number needs.
std::string read_short(int fd) {
    std::array<char, 64> bytes{};
    const ssize_t size = ::pread(fd, bytes.data(), bytes.size(), 0);
    return size > 0 ? std::string{bytes.data(), static_cast<std::size_t>(size)} : std::string{};
}

base::Status check_directory(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return base::system_failure("state_dir " + path);
    if (!S_ISDIR(status.st_mode))
        return base::Failure{"state_dir " + path + ": not a directory", ENOTDIR};
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return base::Failure{"state_dir " + path +
                             ": other users may write to it; cure: chmod 700 " + path};
    if (::access(path.c_str(), W_OK | X_OK) != 0)
        return base::system_failure("state_dir " + path + " is not writable");
    return base::Done{};
}

/// Opens `path` and takes its lock. The file may be unlinked by its last owner between our open and
/// our lock: then the lock is worth nothing, and we try again with the new file.
base::Result<OwnedFd> lock_file(const std::string& path) {
    for (;;) {
        OwnedFd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
        if (!fd) return base::system_failure("cannot open " + path);
        if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK) return base::system_failure("cannot lock " + path);
            std::string pid = read_short(fd.get());
            while (!pid.empty() && pid.back() == '\n') pid.pop_back();
            return base::Failure{"another instance holds " + path + " (pid " + pid +
                                     "); cure: stop it, or give this one its own state_dir",
                                 EWOULDBLOCK};
        }
        struct stat ours {};
        struct stat named {};
        if (::fstat(fd.get(), &ours) == 0 && ::stat(path.c_str(), &named) == 0 &&
            ours.st_ino == named.st_ino && ours.st_dev == named.st_dev)
            return fd;
    }
}

}  // namespace

int exit_code_for(const base::Failure& failure) {
    return failure.error_number == EWOULDBLOCK ? kExitTempFail : kExitConfig;
}

base::Result<StateDir> StateDir::open(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
        return base::system_failure("cannot make state_dir " + path);
    if (const base::Status checked = check_directory(path); !checked) return checked.failure();
    const std::string pid_file = path + "/master.pid";
    base::Result<OwnedFd> lock = lock_file(pid_file);
    if (!lock) return lock.failure();
    const bool left_behind = !read_short(lock.value().get()).empty();
    // In place: a rename would put the name on a file that is not the locked one.
    if (::ftruncate(lock.value().get(), 0) != 0 ||
        !write_all(lock.value().get(), std::to_string(::getpid()) + "\n"))
        return base::system_failure("cannot write " + pid_file);
    StateDir state{path, std::move(lock).value()};
    state.left_behind_ = left_behind;
    return state;
}

StateDir StateDir::adopt(const std::string& path, OwnedFd lock) {
    ::fcntl(lock.get(), F_SETFD, FD_CLOEXEC);
    return StateDir{path, std::move(lock)};
}

StateDir::StateDir(std::string path, OwnedFd lock)
    : path_(std::move(path)), lock_(std::move(lock)), owner_pid_(::getpid()) {}

StateDir::~StateDir() {
    if (lock_ && owner_pid_ == ::getpid()) ::unlink((path_ + "/master.pid").c_str());
}

base::Result<std::uint64_t> StateDir::raise_incarnation() const {
    const std::string name = path_ + "/incarnation";
    const std::string fresh = name + ".new";
    std::uint64_t incarnation = 0;
    if (const OwnedFd old{::open(name.c_str(), O_RDONLY | O_CLOEXEC)}; old) {
        const std::string text = read_short(old.get());
        const auto [end, error] =
            std::from_chars(text.data(), text.data() + text.size(), incarnation);
        // Starting again from 1 would let leases of earlier incarnations pass the fence.
        if (error != std::errc{} || end == text.data())
            return base::Failure{name +
                                 " holds no number; cure: write one above any that was used"};
    } else if (errno != ENOENT) {
        return base::system_failure("cannot read " + name);
    }
    ++incarnation;
    const OwnedFd file{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!file || !write_all(file.get(), std::to_string(incarnation) + "\n") ||
        ::fsync(file.get()) != 0 || ::rename(fresh.c_str(), name.c_str()) != 0)
        return base::system_failure("cannot write " + name);
    const OwnedFd directory{::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!directory || ::fsync(directory.get()) != 0)
        return base::system_failure("cannot sync " + path_);
    return incarnation;
}

}  // namespace forkmill::supervisor
