// SPDX-License-Identifier: Apache-2.0
#include "core/base/identity.h"

#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <random>

namespace forkmill::base {

const std::string& host_name() {
    static const std::string name = [] {
        std::array<char, 256> text{};
        const bool told = ::gethostname(text.data(), text.size() - 1) == 0 && text[0] != '\0';
        return std::string{told ? text.data() : "localhost"};
    }();
    return name;
}

std::uint64_t random_number() {
    std::uint64_t number = 0;
    while (number == 0) {
        if (::getrandom(&number, sizeof number, 0) == static_cast<ssize_t>(sizeof number)) continue;
        std::random_device device;
        number = std::uint64_t{device()} << 32 | device();
    }
    return number;
}

SessionKey random_session() {
    return {random_number(), random_number()};
}

}  // namespace forkmill::base
