// SPDX-License-Identifier: Apache-2.0
// TempDir: a directory of a test's own, gone with everything in it when the test ends.
//
// Threading: one owner. Its path is short enough for a socket's name (sun_path: 107 bytes).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace forkmill::test {

class TempDir {
  public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

    /// Writes a file below the directory and returns its path; makes its folders.
    std::filesystem::path write(std::string_view name, std::string_view text) const;

  private:
    std::filesystem::path path_;
};

/// The whole file, or an empty text when there is none.
std::string read_text(const std::filesystem::path& path);

}  // namespace forkmill::test
