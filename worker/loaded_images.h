// SPDX-License-Identifier: Apache-2.0
// LoadedImages: the program and the shared libraries of this process, by build-id, so that a bare
// function can be named across processes.
//
// Invariants: (1) resolve() yields only addresses inside an executable segment of a living image;
// (2) an image without a build-id is not listed. Threading: a value; read from any thread once
// made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace forkmill::worker {

/// At most this many images are looked at.
inline constexpr std::size_t kImagesMax = 256;

class LoadedImages {
  public:
    /// What is loaded now.
    static LoadedImages of_this_process();

    /// Address of code at `offset` of the image with this build-id (hex); null when there is none,
    /// or no code is there.
    const void* resolve(std::string_view build, std::uint64_t offset) const;
    bool has(std::string_view build) const;
    /// Build-ids in load order, the program first.
    std::vector<std::string> builds() const;
    /// Build-id of the program itself; empty when it was linked without one.
    std::string program_build() const;
    /// Where offset 0 of the program stands.
    const void* program_base() const;

  private:
    struct CodeRange {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
    };
    struct Image {
        std::string build;
        std::uint64_t base = 0;
        bool program = false;
        std::vector<CodeRange> code;
    };

    std::vector<Image> images_;
};

/// The two addresses of a bare function's name `@<build>+<offset>:<build>+<offset>` (hex offsets):
/// function and thunk.
struct FunctionName {
    std::string_view build;
    std::uint64_t offset = 0;
    std::string_view thunk_build;
    std::uint64_t thunk_offset = 0;
};
/// False when `name` is not of that form.
bool parse_function_name(std::string_view name, FunctionName& out);

}  // namespace forkmill::worker
