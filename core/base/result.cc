// SPDX-License-Identifier: Apache-2.0
#include "core/base/result.h"

#include <cerrno>
#include <cstring>

namespace forkmill::base {

Failure system_failure(std::string_view what) {
    const int number = errno;
    return {std::string{what} + ": " + std::strerror(number), number};
}

}  // namespace forkmill::base
