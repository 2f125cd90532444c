// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/fd_text.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace forkmill::supervisor {

bool write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t size = ::write(fd, text.data(), text.size());
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(size));
    }
    return true;
}

base::Result<std::string> read_whole(int fd, std::size_t bytes_max, const std::string& what) {
    const off_t end = ::lseek(fd, 0, SEEK_END);
    if (end < 0) return base::system_failure("cannot read " + what);
    if (static_cast<std::size_t>(end) > bytes_max)
        return base::Failure{what + " has " + std::to_string(end) + " bytes; expected at most " +
                             std::to_string(bytes_max)};
    std::string text(static_cast<std::size_t>(end), '\0');
    for (std::size_t done = 0; done < text.size();) {
        const ssize_t size =
            ::pread(fd, text.data() + done, text.size() - done, static_cast<off_t>(done));
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return base::system_failure("cannot read " + what);
        if (size == 0) return base::Failure{what + " became shorter while it was read"};
        done += static_cast<std::size_t>(size);
    }
    return text;
}

base::Result<OwnedFd> text_as_file(std::string_view text) {
    OwnedFd fd{::memfd_create("forkmill-text", MFD_CLOEXEC)};
    if (!fd || !write_all(fd.get(), text))
        return base::system_failure("cannot keep a text in memory");
    return fd;
}

}  // namespace forkmill::supervisor
