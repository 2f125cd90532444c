// SPDX-License-Identifier: Apache-2.0
// The examples on real input, at every size: the same programs, told by one string where their
// tasks run.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <vector>

#include "tests/e2e/site.h"
#include "tests/support/wait_until.h"

namespace {

using namespace forkmill::e2e;
using forkmill::test::built_program;
using forkmill::test::wait_until;
namespace fs = std::filesystem;

enum class Size { Embedded, Ipc, Tcp, Unix, Remote };

std::string name_of(const testing::TestParamInfo<Size>& info) {
    constexpr const char* kNames[] = {"Embedded", "Ipc", "Tcp", "Unix", "Remote"};
    return kNames[static_cast<int>(info.param)];
}

std::string whole(const fs::path& file) {
    std::ifstream stream{file, std::ios::binary};
    return {std::istreambuf_iterator<char>{stream}, {}};
}

class Example : public Site, public testing::WithParamInterface<Size> {
  protected:
    /// Starts what the size wants, with the example as its workers; the string that says where.
    std::string serve(const std::string& example) {
        program_ = built_program("example_" + example).string();
        if (GetParam() == Size::Embedded) return "local:4";
        std::string endpoint = ipc();
        if (GetParam() == Size::Unix) endpoint = "unix://" + (directory_ / "broker.sock").string();
        if (GetParam() == Size::Tcp || GetParam() == Size::Remote)
            endpoint = "tcp://127.0.0.1:" + std::to_string(free_port());
        BrokerWanted wanted{.listen = endpoint, .workers = 4, .executable = program_};
        wanted.pool = "    arguments: [worker]\n";
        if (GetParam() == Size::Remote) wanted.workers = 0;
        start_broker(wanted);
        if (GetParam() == Size::Remote) {
            const fs::path file =
                directory_.write("remote.yaml",
                                 "state_dir: " + (directory_ / "remote.state").string() +
                                     "\nbroker: \"" + endpoint + "\"\nhost: remote\nworkers: 4\n");
            start("remote", {program_, "worker", "-c", file.string()});
        }
        return endpoint;
    }

    /// The example's output, once it ended well.
    std::string run_example(const std::vector<std::string>& arguments) {
        std::vector<std::string> argv{program_};
        argv.insert(argv.end(), arguments.begin(), arguments.end());
        std::string output;
        EXPECT_EQ(run(argv, output), 0) << output;
        return output;
    }

    std::string program_;
};

TEST_P(Example, E1TheCopierLeavesNoDifference) {
    const std::string pool = serve("copier");
    const fs::path from = "/usr/include/linux";
    const fs::path to = directory_ / "copy";
    const std::string said = run_example({from, to, pool});
    std::string difference;
    EXPECT_EQ(run({"/usr/bin/diff", "-r", "--no-dereference", from, to}, difference), 0)
        << difference;
    EXPECT_NE(said.find('[' + std::string(30, '#') + ']'), std::string::npos)
        << "the bar came to its end: " << said;
}

TEST_P(Example, E2TheCrawlerFetchesEveryPageOnce) {
    const int pages = 60;
    const fs::path site = directory_ / "site";
    fs::create_directory(site);
    for (int i = 0; i < pages; ++i) {
        std::ofstream page{site / ("page" + std::to_string(i) + ".html")};
        page << "page " << i;
        for (const int link : {2 * i + 1, 2 * i + 2})
            if (link < pages) page << " <a href=\"/page" << link << ".html\">on</a>";
    }
    const int port = free_port();
    Daemon& web = start("web",
                        {"/usr/bin/env",
                         "python3",
                         "-m",
                         "http.server",
                         "--bind",
                         "127.0.0.1",
                         "--directory",
                         site.string(),
                         std::to_string(port)});
    web.expected_code = 128 + SIGTERM;
    const std::string pool = serve("crawler");
    const std::string address = "127.0.0.1:" + std::to_string(port);
    ASSERT_TRUE(wait_until([&] { return accepts(port); }, kLimit));
    const fs::path out = directory_ / "pages";
    const std::string said = run_example({address, "/page0.html", out, pool});
    EXPECT_NE(said.find("crawled " + std::to_string(pages) + " pages"), std::string::npos) << said;
    std::map<std::string, int> bodies;
    for (const auto& entry : fs::recursive_directory_iterator(out))
        if (entry.is_regular_file()) ++bodies[whole(entry.path())];
    EXPECT_EQ(bodies.size(), static_cast<std::size_t>(pages));
    const std::string log = whole(web.log);
    const std::regex hit{"\"GET /page\\d+\\.html"};
    const auto hits = std::distance(std::sregex_iterator{log.begin(), log.end(), hit}, {});
    EXPECT_EQ(hits, pages) << "each page was asked for once";
}

TEST_P(Example, E3TheWordCountAddsUp) {
    const fs::path texts = "/usr/include/asm-generic";
    const std::string said = run_example({texts, serve("word_count")});
    std::uint64_t words = 0;
    for (const auto& entry : fs::recursive_directory_iterator(texts)) {
        if (!entry.is_regular_file()) continue;
        bool inside = false;
        for (const char c : whole(entry.path())) {
            const bool letter = std::isalpha(static_cast<unsigned char>(c)) != 0;
            if (letter && !inside) ++words;
            inside = letter;
        }
    }
    EXPECT_NE(said.find(std::to_string(words) + " words"), std::string::npos)
        << words << " expected:\n"
        << said;
}

TEST_P(Example, E4SynchronousIsOneAfterAnotherAndAsynchronousAtOnce) {
    const std::string said = run_example({serve("sync_async")});
    double apply = 0;
    double apply_async = 0;
    unsigned processes = 0;
    const auto at = said.find("apply ");
    const auto at_async = said.find("apply_async ");
    ASSERT_TRUE(at != std::string::npos && at_async != std::string::npos) << said;
    ASSERT_EQ(std::sscanf(said.c_str() + at, "apply %lf s", &apply), 1) << said;
    ASSERT_EQ(
        std::sscanf(said.c_str() + at_async, "apply_async %lf s in %u", &apply_async, &processes),
        2)
        << said;
    EXPECT_GE(apply, 0.5) << "ten naps of 50 ms, one after another";
    EXPECT_LT(apply_async, apply);
    EXPECT_GE(processes, 4U);
}

TEST_P(Example, E5NoTwoLinesInterleaveUnderALock) {
    const std::string said = run_example({"print", serve("sharing")});
    const std::regex line{"line \\d of process \\d+\n"};
    const auto lines = std::distance(std::sregex_iterator{said.begin(), said.end(), line}, {});
    EXPECT_EQ(lines, 10) << said;
}

TEST_P(Example, E6ABoundedQueueBlocksTimesOutAndRefuses) {
    const std::string said = run_example({"bound", serve("sharing")});
    EXPECT_NE(said.find("size 3, full\ntry_put: refused at once\nput_for: full after 200 ms\n"
                        "put: waits\na reader got 4\n"),
              std::string::npos)
        << said;
}

TEST_P(Example, E7TwentyTakersLeaveEightyOfAHundred) {
    const std::string said = run_example({"count", serve("sharing")});
    EXPECT_NE(said.find("\nlock: 80\n"), std::string::npos) << said;
    EXPECT_NE(said.find("\nupdate: 80\n"), std::string::npos) << said;
}

TEST_P(Example, E8TasksTalkThroughAQueue) {
    const std::string said = run_example({"talk", serve("sharing")});
    EXPECT_NE(said.find(" wrote, the reader got 100\n"), std::string::npos) << said;
}

INSTANTIATE_TEST_SUITE_P(
    EverySize,
    Example,
    testing::Values(Size::Embedded, Size::Ipc, Size::Tcp, Size::Unix, Size::Remote),
    name_of);

}  // namespace
