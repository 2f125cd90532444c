// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/birth_bytes.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace forkmill {
inline namespace v0 {
namespace local {

namespace {

base::Failure cannot(const char* what) {
    return {std::string{"cannot "} + what + ": " + std::strerror(errno), errno};
}

}  // namespace

void BirthWriter::raw(const void* data, std::size_t size) {
    const auto* from = static_cast<const std::byte*>(data);
    out_.insert(out_.end(), from, from + size);
}

base::Result<supervisor::OwnedFd> BirthWriter::to_memfd() const {
    supervisor::OwnedFd fd{::memfd_create("forkmill-birth", MFD_CLOEXEC)};
    if (!fd) return cannot("make a memfd");
    std::size_t at = 0;
    while (at < out_.size()) {
        const ssize_t wrote =
            ::pwrite(fd.get(), out_.data() + at, out_.size() - at, static_cast<off_t>(at));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return cannot("write what a child is told");
        at += static_cast<std::size_t>(wrote);
    }
    return fd;
}

std::optional<BirthReader> BirthReader::from_memfd(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0 || status.st_size <= 0) return std::nullopt;
    BirthReader reader;
    reader.in_.resize(static_cast<std::size_t>(status.st_size));
    std::size_t at = 0;
    while (at < reader.in_.size()) {
        // pread: the file offset is shared by all that got this memfd.
        const ssize_t got =
            ::pread(fd, reader.in_.data() + at, reader.in_.size() - at, static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return std::nullopt;
        at += static_cast<std::size_t>(got);
    }
    return reader;
}

void BirthReader::raw(void* to, std::size_t size) {
    if (size > in_.size() - at_) ok_ = false;
    if (!ok_ || size == 0) return;
    std::memcpy(to, in_.data() + at_, size);
    at_ += size;
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
