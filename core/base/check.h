// SPDX-License-Identifier: Apache-2.0
// FORKMILL_CHECK: the end of a process whose own invariant is broken.
//
// Only for our own programming errors, in every build: a broken table must not be written to disk
// or sent on. What a peer, a user or a file said is never checked with it (law 7): that is an error
// value.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace forkmill::base {

[[noreturn]] inline void check_failed(const char* file, int line, const char* what) {
    std::fprintf(stderr, "forkmill: %s:%d: invariant broken: %s\n", file, line, what);
    std::fflush(stderr);
    std::abort();
}

}  // namespace forkmill::base

#define FORKMILL_CHECK(condition)                                           \
    do {                                                                    \
        if (!(condition)) [[unlikely]]                                      \
            ::forkmill::base::check_failed(__FILE__, __LINE__, #condition); \
    } while (false)
