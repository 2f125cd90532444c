// SPDX-License-Identifier: Apache-2.0
// Each law catches what it forbids: a violation planted in a text that is no file, beside its legal
// twin.
#include <gtest/gtest.h>

#include "tests/style/functions.h"
#include "tests/style/laws.h"

namespace forkmill::style {
namespace {

using Check = Violations (*)(const Source&);

void expect_caught(Check check, const std::string& path, const std::string& text) {
    EXPECT_EQ(check(make_source(path, text)).size(), 1U) << path << ":\n" << text;
}
void expect_legal(Check check, const std::string& path, const std::string& text) {
    for (const std::string& violation : check(make_source(path, text))) ADD_FAILURE() << violation;
}

TEST(Planted, IncludesAgainstTheDirectionAreCaught) {
    expect_caught(check_directions, "core/base/x.cc", "#include \"core/wire/codes.h\"\n");
    expect_caught(check_directions, "core/wire/x.h", "#include \"core/net/transport.h\"\n");
    expect_caught(check_directions, "broker/engine/x.cc", "#include \"broker/gateway.h\"\n");
    expect_caught(check_directions, "broker/x.cc", "#include \"worker/executor.h\"\n");
    expect_caught(check_directions, "worker/x.cc", "#include \"broker/gateway.h\"\n");
    expect_caught(check_directions, "sdk/src/x.cc", "#include \"broker/engine/engine.h\"\n");
    expect_caught(check_directions, "sdk/include/forkmill/x.h", "#include \"core/base/time.h\"\n");
    expect_caught(check_directions, "cli/x.cc", "#include \"broker/gateway.h\"\n");
    expect_caught(check_directions, "tests/conformance/x.cc", "#include \"core/base/time.h\"\n");
    expect_legal(check_directions,
                 "sdk/local/x.cc",
                 "#include \"broker/gateway.h\"\n#include \"worker/executor.h\"\n");
    expect_legal(check_directions, "worker/x.cc", "#include \"forkmill/task.h\"\n");
    expect_legal(check_directions, "core/base/x.cc", "// #include \"core/wire/codes.h\"\n");
}

TEST(Planted, ThirdPartiesOutsideTheirCagesAreCaught) {
    expect_caught(check_cages, "broker/x.cc", "#include <zmq.h>\n");
    expect_caught(check_cages, "sdk/src/x.cc", "#include <zmq.hpp>\n");
    expect_caught(check_cages, "broker/x.h", "#include <msgpack.hpp>\n");
    expect_caught(check_cages, "core/base/x.cc", "#include <yaml-cpp/yaml.h>\n");
    expect_caught(check_cages, "core/base/config_reader.cc", "#include <yaml-cpp/yaml.h>\n");
    expect_caught(check_cages, "broker/x.cc", "#include <spdlog/spdlog.h>\n");
    expect_caught(check_cages, "sdk/include/forkmill/x.h", "#include <spdlog/spdlog.h>\n");
    expect_caught(check_cages, "sdk/src/x.cc", "#include <CLI/CLI.hpp>\n");
    expect_caught(check_cages, "broker/config.h", "#include <CLI/CLI.hpp>\n");
    expect_caught(check_cages, "broker/engine/x.cc", "#include <nlohmann/json.hpp>\n");
    expect_legal(check_cages, "core/net/x.cc", "#include <zmq.h>\n");
    expect_legal(check_cages, "broker/main.cc", "#include <CLI/CLI.hpp>\n");
}

TEST(Planted, ProcessCallsOutsideTheSupervisorAreCaught) {
    expect_caught(check_process_calls, "worker/x.cc", "    const pid_t pid = fork();\n");
    expect_caught(check_process_calls, "worker/x.cc", "    if (::fork() == 0) {}\n");
    expect_caught(check_process_calls, "broker/x.cc", "    ::kill(pid, SIGKILL);\n");
    expect_caught(check_process_calls, "sdk/src/x.cc", "    return waitpid(pid, nullptr, 0);\n");
    expect_caught(check_process_calls, "cli/x.cc", "    ::system(command);\n");
    expect_legal(check_process_calls, "core/supervisor/x.cc", "    const pid_t pid = fork();\n");
    expect_legal(check_process_calls,
                 "worker/x.cc",
                 "void kill(int slot);\nslots.kill(3);\nslots->kill(3);\nshell::fork(1);\n"
                 "return kill(effect);\n// fork() happens elsewhere.\nconst char* s = "
                 "\"kill(1)\";\nrekill(1);\n");
}

TEST(Planted, ClocksThreadsAndFilesInThePureParts) {
    expect_caught(check_purity, "broker/engine/x.cc", "#include <thread>\n");
    expect_caught(check_purity, "broker/engine/x.h", "#include <sys/socket.h>\n");
    expect_caught(check_purity, "broker/engine/x.cc", "auto t = base::monotonic_now();\n");
    expect_caught(
        check_purity, "core/session/x.cc", "auto t = std::chrono::steady_clock::now();\n");
    expect_caught(check_purity, "broker/gateway_in.cc", "#include <fstream>\n");
    expect_legal(
        check_purity, "broker/engine/x.cc", "#include <chrono>\n// Not monotonic_now().\n");
    expect_legal(check_purity, "broker/router.cc", "auto t = base::monotonic_now();\n");
}

TEST(Planted, ABrokerThatOpensBodies) {
    expect_caught(check_bodies, "broker/x.cc", "#include \"core/wire/reader.h\"\n");
    expect_caught(check_bodies, "broker/engine/x.cc", "#include \"forkmill/pack.h\"\n");
    expect_caught(check_bodies, "broker/engine/x.cc", "#include <msgpack.hpp>\n");
    expect_legal(check_bodies, "worker/x.cc", "#include \"forkmill/pack.h\"\n");
}

TEST(Planted, AssertionsInADecoder) {
    expect_caught(check_assertions, "core/wire/reader.cc", "    FORKMILL_CHECK(size < 3);\n");
    expect_legal(check_assertions, "core/wire/writer.cc", "    FORKMILL_CHECK(size < 3);\n");
}

TEST(Planted, AFileWithoutItsLicense) {
    expect_caught(check_license, "core/base/x.cc", "#include <vector>\n");
    expect_caught(check_license, "tools/x", "#!/bin/sh\nset -eu\n");
    expect_caught(check_license, "core/CMakeLists.txt", "add_subdirectory(base)\n");
    expect_legal(check_license, "tools/x", "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n");
}

TEST(Planted, LinesThatAreTooLongOrUntidy) {
    expect_caught(check_columns, "core/base/x.cc", std::string(101, 'x') + "\n");
    expect_caught(check_columns, "core/base/x.cc", "\tint x;\n");
    expect_caught(check_columns, "core/base/x.cc", "int x; \n");
    expect_legal(check_columns, "core/base/x.cc", std::string(100, 'x') + "\n");
    std::string dots = "// ";
    for (int i = 0; i < 97; ++i) dots += "…";
    expect_legal(check_columns, "core/base/x.cc", dots + "\n");
}

std::string lines(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "int x" + std::to_string(i) + ";\n";
    return text;
}

TEST(Planted, FilesThatGrewTooLarge) {
    expect_caught(check_sizes, "core/base/x.h", lines(201));
    expect_caught(check_sizes, "core/base/x.cc", lines(601));
    expect_caught(check_sizes, "broker/main.cc", lines(121));
    expect_legal(check_sizes, "core/base/x.cc", lines(600));
}

TEST(Planted, FunctionsThatGrewTooLong) {
    const std::string body = lines(70);
    expect_caught(check_functions, "core/base/x.cc", "void f(int a) {\n" + body + "}\n");
    expect_caught(check_functions,
                  "core/base/x.cc",
                  "namespace a {\nclass B {\n    B() : x_{1}, y_{2} {\n" + body + "}\n};\n}\n");
    expect_caught(check_functions,
                  "core/base/x.cc",
                  "template <class T>\nT f(T a) requires(true) {\n" + body + "}\n");
    expect_caught(
        check_functions, "core/base/x.cc", "void f() {\n    g([] {\n" + body + "    });\n}\n");
    expect_legal(check_functions, "core/base/x.cc", "void f() {\n" + lines(68) + "}\n");
    expect_legal(check_functions,
                 "core/base/x.cc",
                 "template <class T>\nclass A {\n" + body + body + "};\n");
    expect_legal(check_functions, "core/base/x.cc", "const int k[] = {\n" + body + "};\n");
    expect_legal(check_functions, "core/base/x.cc", "constexpr auto k = make(1);\n" + body);
}

TEST(Planted, HeadersWithoutTheirOpening) {
    expect_caught(check_headers, "core/base/x.h", "// SPDX\n// X: a thing.\nint x;\n");
    expect_caught(check_headers, "core/base/x.h", "// SPDX\n#pragma once\n");
    expect_caught(
        check_headers, "core/base/x.h", "// SPDX\n// X.\n#pragma once\nusing namespace std;\n");
    expect_caught(check_headers,
                  "sdk/include/forkmill/x.h",
                  "// SPDX\n// X.\n#pragma once\n#define CHECK(x) x\n");
    expect_legal(check_headers, "core/base/x.h", "// SPDX\n// X: a thing.\n#pragma once\n");
}

TEST(Planted, WordsOfUnfinishedWork) {
    expect_caught(check_words, "core/base/x.cc", "// TODO: later\n");
    expect_caught(check_words, "docs/x.md", "see /work/notes\n");
    expect_caught(check_words, "core/base/x.cc", "for (int x : std::views::iota(0, 3)) use(x);\n");
    expect_caught(check_words, "core/base/x.cc", "    assert(x > 0);\n");
    expect_caught(check_words, "tests/unit/x_test.cc", "    GTEST_SKIP();\n");
    expect_legal(check_words, "core/base/x.cc", "    static_assert(sizeof(int) == 4);\n");
}

TEST(Planted, BannersAndCommentedOutCode) {
    expect_caught(check_comments, "core/base/x.cc", "// ---------- part two\n");
    expect_caught(check_comments, "core/base/x.cc", "    // process(queue);\n");
    expect_caught(check_comments, "core/base/x.cc", "    int x;  \n    // NOLINT\n");
    expect_legal(check_comments, "core/base/x.cc", "    // Asks (twice); then gives up.\n");
}

TEST(Planted, TestsThatSleep) {
    expect_caught(check_sleeps, "tests/unit/net/x_test.cc", "std::this_thread::sleep_for(1s);\n");
    expect_legal(check_sleeps, "tests/support/wait_until.cc", "std::this_thread::sleep_for(1s);\n");
}

TEST(SourceStripper, BlanksCommentsAndLiteralsButKeepsPlaces) {
    const Source source = make_source("x.cc",
                                      "int a = f(\"x // y\");  // g()\n"
                                      "char c = '\"'; int n = 1'000;\n"
                                      "/* fork()\n fork() */ int b;\n"
                                      "auto r = R\"(fork(\n)\"; int d;\n");
    EXPECT_EQ(source.code[0], "int a = f(\"      \");        ");
    EXPECT_EQ(source.code[1], "char c = ' '; int n = 1'000;");
    EXPECT_EQ(source.code[2], "         ");
    EXPECT_EQ(source.code[3], "           int b;");
    EXPECT_EQ(source.code[4].find("fork"), std::string::npos);
    EXPECT_NE(source.code[5].find("int d;"), std::string::npos);
}

}  // namespace
}  // namespace forkmill::style
