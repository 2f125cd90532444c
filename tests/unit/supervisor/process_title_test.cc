// SPDX-License-Identifier: Apache-2.0
// Titles are for ever, so each case is a child of this program: it reports what it sees as a text.
#include "core/supervisor/process_title.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "core/supervisor/fd.h"
#include "core/supervisor/spawn.h"
#include "tests/support/temp_dir.h"

namespace forkmill::supervisor {
namespace {

/// What `body` returns, run in a child of this process.
std::string in_child(const std::function<std::string()>& body) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return "no pipe";
    const OwnedFd read_end{ends[0]};
    OwnedFd write_end{ends[1]};
    const pid_t child = ::fork();
    if (child == 0) {
        const std::string text = body();
        const ssize_t written = ::write(write_end.get(), text.data(), text.size());
        ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
    }
    write_end.reset();
    std::string text;
    std::array<char, 4096> bytes{};
    for (ssize_t size = 0; (size = ::read(read_end.get(), bytes.data(), bytes.size())) > 0;)
        text.append(bytes.data(), static_cast<std::size_t>(size));
    int status = 0;
    ::waitpid(child, &status, 0);
    return status == 0 ? text : "child ended with status " + std::to_string(status);
}

/// The kernel's argv[0], which the test framework leaves where it was.
void init() {
    std::array<char*, 2> argv{program_invocation_name, nullptr};
    init_process_title(1, argv.data());
}

/// As ps does it: NULs at the end do not count.
std::string shown() {
    std::string text = test::read_text("/proc/self/cmdline");
    while (!text.empty() && text.back() == '\0') text.pop_back();
    return text;
}

std::string name() {
    return test::read_text("/proc/self/comm");
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += word + '\0';
    return text;
}

std::size_t size_of(const char* file) {
    return test::read_text(file).size();
}

TEST(ProcessTitle, IsWhatPsShows) {
    EXPECT_EQ(in_child([] {
                  init();
                  set_process_title("t: router, 12");
                  return shown();
              }),
              "t: router, 12");
}

TEST(ProcessTitle, AShorterOneLeavesNothingOfTheLongerOne) {
    EXPECT_EQ(in_child([] {
                  init();
                  set_process_title("t: running a long task");
                  set_process_title("t: idle");
                  return shown();
              }),
              "t: idle");
}

TEST(ProcessTitle, MayBeLongerThanTheCommandLine) {
    const std::size_t words = size_of("/proc/self/cmdline");
    ASSERT_GT(size_of("/proc/self/environ"), 16U) << "this test needs an environment";
    for (std::size_t size = words - 2; size < words + 8; ++size) {
        const std::string title(size, 'x');
        EXPECT_EQ(in_child([&] {
                      init();
                      set_process_title(title);
                      return shown();
                  }),
                  title)
            << size << " of " << words;
    }
}

TEST(ProcessTitle, OneThatDoesNotFitIsCut) {
    const std::size_t room = size_of("/proc/self/cmdline") + size_of("/proc/self/environ");
    const std::string text = in_child([] {
        init();
        set_process_title(std::string(1 << 22, 'x'));
        // What lies behind the area is the program's path; the kernel shows a page at most.
        return shown() + "\n" + joined(original_command_line());
    });
    const std::string title = text.substr(0, text.find('\n'));
    EXPECT_EQ(title, std::string(title.size(), 'x'));
    EXPECT_EQ(title.size(), std::min<std::size_t>(room - 1, 4096));
}

TEST(ProcessTitle, NamesTheProcessByItsProgramOrAsTold) {
    EXPECT_EQ(in_child([] {
                  init();
                  set_process_title("forkmill-worker-and-more: default/3 g7");
                  std::string names = name();
                  set_process_title("forkmilld: router", "fm-router");
                  names += name();
                  set_process_title("x\ny: z");
                  return names + name();
              }),
              "forkmill-worker\nfm-router\nx?y\n");
}

TEST(ProcessTitle, APeersWordsForgeNothing) {
    EXPECT_EQ(in_child([] {
                  init();
                  set_process_title(std::string_view{"t: a\033[2Jb\nc\0d", 13});
                  return shown();
              }),
              "t: a?[2Jb?c?d");
}

TEST(ProcessTitle, TheEnvironmentGoesOnWorking) {
    const std::string before = joined(environment_with({}));
    EXPECT_EQ(in_child([] {
                  init();
                  set_process_title(std::string(1 << 22, 'x'));
                  return joined(environment_with({}));
              }),
              before);
    EXPECT_EQ(in_child([] {
                  ::setenv("FORKMILL_TITLE_TEST", "before", 1);
                  init();
                  set_process_title(std::string(1 << 22, 'x'));
                  std::string seen = std::getenv("FORKMILL_TITLE_TEST");
                  ::setenv("FORKMILL_TITLE_TEST", "changed to something longer", 1);
                  seen += std::string{"|"} + std::getenv("FORKMILL_TITLE_TEST");
                  ::unsetenv("FORKMILL_TITLE_TEST");
                  ::setenv("FORKMILL_TITLE_NEW", "new", 1);
                  ::unsetenv("PATH");
                  seen += std::getenv("FORKMILL_TITLE_TEST") == nullptr ? "|gone" : "|there";
                  seen += std::getenv("PATH") == nullptr ? "|gone" : "|there";
                  return seen + "|" + std::getenv("FORKMILL_TITLE_NEW");
              }),
              "before|changed to something longer|gone|gone|new");
}

TEST(ProcessTitle, ArgumentsOutliveIt) {
    const std::string program = program_invocation_name;
    EXPECT_EQ(in_child([] {
                  std::array<char*, 2> argv{program_invocation_name, nullptr};
                  init_process_title(1, argv.data());
                  set_process_title(std::string(1 << 22, 'x'));
                  return std::string{argv[0]} + "|" + program_invocation_name;
              }),
              program + "|" + program);
}

TEST(ProcessTitle, TheOriginalCommandLineIsRemembered) {
    const std::string words = test::read_text("/proc/self/cmdline");
    EXPECT_EQ(joined(original_command_line()), words);
    EXPECT_EQ(in_child([] {
                  init();
                  set_process_title("t: x");
                  init();
                  return joined(original_command_line());
              }),
              words);
}

TEST(ProcessTitle, WithoutAnInitNothingIsTouched) {
    const std::string before = shown() + name();
    EXPECT_EQ(in_child([] {
                  set_process_title("t: x");
                  return shown() + name();
              }),
              before);
}

TEST(ProcessTitle, WordsThatAreNotTheKernelsAreNotOverwritten) {
    const std::string before = shown() + name() + "program";
    EXPECT_EQ(in_child([] {
                  std::string word = "program";
                  std::array<char*, 2> argv{word.data(), nullptr};
                  init_process_title(1, argv.data());
                  set_process_title("t: x");
                  return shown() + name() + word;
              }),
              before);
}

}  // namespace
}  // namespace forkmill::supervisor
