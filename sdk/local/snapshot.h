// SPDX-License-Identifier: Apache-2.0
// Snapshot: what embedded workers know of the program: the code that was loaded and the runners
// that were made before the fork server was forked.
//
// Invariant: once taken it does not change. Threading: a value.
#pragma once

#include <cstdint>
#include <vector>

#include "forkmill/detail/seam.h"

namespace forkmill {
inline namespace v0 {
namespace local {

class Snapshot {
  public:
    static Snapshot take();

    /// Code or data of an image that was loaded then.
    bool has(const void* address) const;
    bool has(const detail::TaskEntry& entry) const;

  private:
    struct Image {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
    };
    static std::vector<Image> images();

    std::vector<Image> images_;
    std::uint64_t newest_runner_ = 0;
};

}  // namespace local
}  // namespace v0
}  // namespace forkmill
