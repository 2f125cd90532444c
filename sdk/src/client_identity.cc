// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/client_identity.h"

#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace forkmill {
inline namespace v0 {
namespace detail {

const std::string& host_name() {
    static const std::string name = [] {
        std::array<char, 256> text{};
        return ::gethostname(text.data(), text.size() - 1) == 0 ? std::string{text.data()}
                                                                : std::string{"localhost"};
    }();
    return name;
}

std::uint64_t random_u64() {
    for (;;) {
        std::uint64_t value = 0;
        const ssize_t got = ::getrandom(&value, sizeof value, 0);
        if (got == static_cast<ssize_t>(sizeof value) && value != 0) return value;
        if (got < 0 && errno != EINTR)
            throw std::system_error{errno, std::generic_category(), "getrandom"};
    }
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
