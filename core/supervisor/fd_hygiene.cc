// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/fd_hygiene.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

namespace {

std::vector<int> open_fds() {
    std::vector<int> fds;
    DIR* directory = ::opendir("/proc/self/fd");
    if (directory == nullptr) return fds;
    while (const dirent* entry = ::readdir(directory)) {
        const std::string_view name = entry->d_name;
        int fd = -1;
        std::from_chars(name.data(), name.data() + name.size(), fd);
        if (fd >= 0 && fd != ::dirfd(directory)) fds.push_back(fd);
    }
    ::closedir(directory);
    return fds;
}

bool pins_nobody(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return false;
    return S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISCHR(status.st_mode) ||
           S_ISBLK(status.st_mode);
}

}  // namespace

std::vector<int> detach_inherited_fds(const std::vector<int>& keep) {
    const OwnedFd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    std::vector<int> open = open_fds();
    std::erase(open, null.get());
    if (!null) return open;
    for (const int fd : open) {
        if (fd <= STDERR_FILENO || pins_nobody(fd)) continue;
        if (std::find(keep.begin(), keep.end(), fd) != keep.end()) continue;
        ::dup3(null.get(), fd, O_CLOEXEC);
    }
    ::dup2(null.get(), STDIN_FILENO);
    return open;
}

}  // namespace forkmill::supervisor
