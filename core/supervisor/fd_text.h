// SPDX-License-Identifier: Apache-2.0
// Texts in descriptors: written whole, read whole, or handed on as files without a name.
//
// A system call that is interrupted, or takes a part, is gone on with. Threading: any.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/supervisor/fd.h"

namespace forkmill::supervisor {

/// From where the descriptor stands. False: errno says why.
bool write_all(int fd, std::string_view text);

/// All of a file, from its first byte; where the descriptor stands counts for nothing. `what` it is
/// in a failure: one with more than `bytes_max`, and one that shrinks meanwhile, is refused.
base::Result<std::string> read_whole(int fd, std::size_t bytes_max, const std::string& what);

/// A descriptor with these bytes, to be read as a file by whoever inherits it.
base::Result<OwnedFd> text_as_file(std::string_view text);

}  // namespace forkmill::supervisor
