// SPDX-License-Identifier: Apache-2.0
#include "worker/identity.h"

#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <random>

namespace forkmill::worker {

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
    return name.data();
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

base::SessionKey random_session() {
    return {random_number(), random_number()};
}

}  // namespace forkmill::worker
