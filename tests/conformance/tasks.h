// SPDX-License-Identifier: Apache-2.0
// The tasks that conformance cases run: the contract. Their code is in tasks.cc, which the same
// test program brings to every worker.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "forkmill/forkmill.h"

namespace conformance {

/// A result that refuses to be packed while `poisoned`.
struct Stubborn {
    bool poisoned = true;
};

}  // namespace conformance

template <>
struct forkmill::Codec<conformance::Stubborn> {
    static std::string signature() { return "stubborn"; }
    static void encode(Packer& packer, const conformance::Stubborn& value) {
        if (value.poisoned) throw std::runtime_error("this value does not want to be packed");
        packer.nil();
    }
    static void decode(Unpacker& unpacker, conformance::Stubborn&) { unpacker.nil(); }
};

namespace conformance {

/// Counts its living copies in this process (P37).
struct Counted {
    std::vector<std::int32_t> data;
    Counted();
    Counted(const Counted& other);
    Counted(Counted&& other) noexcept;
    Counted& operator=(const Counted& other) = default;
    Counted& operator=(Counted&& other) noexcept = default;
    ~Counted();
    FORKMILL_FIELDS(data)
    static int alive();
};

inline constexpr forkmill::Task<"test.square", int(int)> square;
inline constexpr forkmill::Task<"test.add", int(int, int)> add;
inline constexpr forkmill::Task<"test.pid", int()> pid_of_worker;
/// Sleeps and returns the worker's pid.
inline constexpr forkmill::Task<"test.sleep_ms", int(int)> sleep_ms;
/// Throws the standard exception named, with the text given.
inline constexpr forkmill::Task<"test.fail", int(std::string, std::string)> fail;
/// exit3 | abort | segv | stack | kill
inline constexpr forkmill::Task<"test.crash", int(std::string)> crash;
/// Appends "pid attempt" to the file, then kills its own process if this is attempt ≤ deaths; else
/// returns the attempt.
inline constexpr forkmill::Task<"test.die_until", int(std::string, int)> die_until;
/// Appends a line to the file and returns.
inline constexpr forkmill::Task<"test.append", int(std::string, std::string)> append_line;
/// Waits (bounded) until the file exists; returns the pid.
inline constexpr forkmill::Task<"test.wait_file", int(std::string)> wait_file;
/// Submits square(n) to its own pool and waits for it.
inline constexpr forkmill::Task<"test.nested", int(int)> nested;
inline constexpr forkmill::Task<"test.text", std::string(std::size_t)> text_of_size;
inline constexpr forkmill::Task<"test.length", std::size_t(std::string)> length;
inline constexpr forkmill::Task<"test.unpackable", Stubborn()> unpackable;
inline constexpr forkmill::Task<"test.counted", Counted(Counted)> counted;
inline constexpr forkmill::Task<"test.counted_alive", int()> counted_alive;
/// How often the initializer ran in this worker, and whether it ran before the first task.
inline constexpr forkmill::Task<"test.initialized", std::pair<int, int>(int)> initialized;
/// Spins for that long without ever yielding to anything.
inline constexpr forkmill::Task<"test.spin_ms", int(int)> spin_ms;
inline constexpr forkmill::Task<"test.sum", std::int64_t(std::vector<int>)> sum;

forkmill::Tasks all_tasks();
/// "count", "throw" or "throw-until-file" (argument: the file).
forkmill::Initializer make_initializer(const std::string& kind);

}  // namespace conformance
