// SPDX-License-Identifier: Apache-2.0
#include "tests/support/temp_dir.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

namespace forkmill::test {

TempDir::TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "forkmill-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
        throw std::system_error{errno, std::generic_category(), "mkdtemp " + name};
    }
    path_ = name;
}

TempDir::~TempDir() {
    std::error_code ignored;  // A leftover in /tmp must not hide why the test failed.
    std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path TempDir::write(std::string_view name, std::string_view text) const {
    std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream out{file, std::ios::binary};
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    out.close();
    if (!out) throw std::system_error{errno, std::generic_category(), "write " + file.string()};
    return file;
}

std::string read_text(const std::filesystem::path& path) {
    // With plain read(): a stream throws when a file of /proc goes with its process.
    std::string text;
    std::array<char, 4096> bytes;
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    for (ssize_t size = 0; fd >= 0 && (size = ::read(fd, bytes.data(), bytes.size())) > 0;)
        text.append(bytes.data(), static_cast<std::size_t>(size));
    if (fd >= 0) ::close(fd);
    return text;
}

}  // namespace forkmill::test
