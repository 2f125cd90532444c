// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/fd_text.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <thread>

namespace forkmill::supervisor {
namespace {

TEST(FdText, AFileInMemoryIsReadWholeHoweverOften) {
    const std::string text = std::string{"a\0b\n", 4} + std::string(100'000, 'x');
    const base::Result<OwnedFd> file = text_as_file(text);
    ASSERT_TRUE(file.ok());
    for (int round = 0; round < 2; ++round) {
        const base::Result<std::string> read = read_whole(file.value().get(), text.size(), "it");
        ASSERT_TRUE(read.ok()) << read.failure().text;
        EXPECT_EQ(read.value(), text);
    }
    const base::Result<std::string> refused =
        read_whole(file.value().get(), text.size() - 1, "what is too long");
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.failure().text.find("what is too long has"), std::string::npos);
}

TEST(FdText, WhatCannotBeReadOrWrittenSaysSo) {
    const base::Result<std::string> none = read_whole(-1, 10, "nothing");
    ASSERT_FALSE(none.ok());
    EXPECT_EQ(none.failure().error_number, EBADF);
    EXPECT_FALSE(write_all(-1, "x"));
    EXPECT_TRUE(write_all(-1, ""));
}

TEST(FdText, MoreThanAPipeHoldsIsWrittenToItsEnd) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const OwnedFd read_end{ends[0]};
    OwnedFd write_end{ends[1]};
    const std::string text(1 << 20, 'y');
    bool whole = false;
    std::thread writer{[&] {
        whole = write_all(write_end.get(), text);
        write_end.reset();
    }};
    std::size_t size = 0;
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = ::read(read_end.get(), part.data(), part.size())) > 0;)
        size += static_cast<std::size_t>(got);
    writer.join();
    EXPECT_TRUE(whole);
    EXPECT_EQ(size, text.size());
}

}  // namespace
}  // namespace forkmill::supervisor
