// SPDX-License-Identifier: Apache-2.0
// What operators read and install says what the code does: docs/operations.md and deploy/systemd.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "core/supervisor/channel.h"
#include "core/supervisor/exit_codes.h"
#include "core/supervisor/master.h"
#include "core/supervisor/signals.h"
#include "core/supervisor/slot.h"
#include "tests/support/temp_dir.h"

namespace forkmill::supervisor {
namespace {

std::string source(const std::string& path) {
    const std::string text =
        test::read_text(std::filesystem::path{FORKMILL_TEST_SOURCE_DIR} / path);
    EXPECT_FALSE(text.empty()) << path;
    return text;
}

/// The lines of a text that start with `opening`.
std::vector<std::string> lines(const std::string& text, const std::string& opening) {
    std::vector<std::string> found;
    std::istringstream in{text};
    for (std::string line; std::getline(in, line);)
        if (line.starts_with(opening)) found.push_back(line);
    return found;
}

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

std::string seconds(base::Duration limit) {
    return "| " + std::to_string(std::chrono::duration_cast<std::chrono::seconds>(limit).count()) +
           " s |";
}

TEST(OperationsPage, NamesEverySignalWithItsVerb) {
    const std::string page = source("docs/operations.md");
    for (const SignalRow& row : signal_table()) {
        const std::vector<std::string> found = lines(page, "| " + std::string{row.name} + " |");
        ASSERT_EQ(found.size(), 1U) << row.name;
        const std::string verb =
            row.verb.empty() ? "| |" : "| `-s " + std::string{row.verb} + "` |";
        EXPECT_TRUE(holds(found[0], verb)) << found[0];
    }
}

TEST(OperationsPage, NamesEveryStateWithItsDeadline) {
    const std::string page = source("docs/operations.md");
    const SlotTimeouts timeouts;
    for (std::size_t i = 0; i < kSlotStates; ++i) {
        const auto state = static_cast<SlotState>(i);
        const std::vector<std::string> found =
            lines(page, "| `" + std::string{name_of(state)} + "` |");
        ASSERT_EQ(found.size(), 1U) << name_of(state);
        const std::vector<std::pair<SlotState, base::Duration>> deadlines{
            {SlotState::Starting, timeouts.start},
            {SlotState::Draining, timeouts.drain},
            {SlotState::Term, timeouts.term},
            {SlotState::Abort, timeouts.dump},
            {SlotState::Kill, timeouts.kill},
            {SlotState::Suspended, timeouts.stop}};
        for (const auto& [timed, limit] : deadlines) {
            if (timed == state) {
                EXPECT_TRUE(holds(found[0], seconds(limit))) << found[0];
            }
        }
    }
}

TEST(OperationsPage, NamesEveryExitCode) {
    const std::string page = source("docs/operations.md");
    for (const int code :
         {kExitOk, kExitUsage, kExitSoftware, kExitTempFail, kExitNoPermission, kExitConfig})
        EXPECT_EQ(lines(page, "| " + std::to_string(code) + " |").size(), 1U) << code;
}

/// "hard-timeout" as the protocol's page writes it: HardTimeout.
std::string joined(std::string_view name) {
    std::string out;
    bool upper = true;
    for (const char c : name) {
        if (c != '-') out += upper ? static_cast<char>(std::toupper(c)) : c;
        upper = c == '-';
    }
    return out;
}

TEST(ProtocolPage, NumbersEveryCauseAndTheVerbsOfHosts) {
    const std::string page = source("docs/protocol.md");
    const std::size_t begin = page.find("**Verbs and causes**");
    ASSERT_NE(begin, std::string::npos);
    const std::string rule = page.substr(begin, page.find("Unknown ones", begin) - begin);
    const std::size_t half = rule.find("; causes ");
    ASSERT_NE(half, std::string::npos);
    const auto expect_named = [](const std::string& list, int number, std::string_view name) {
        const std::string words = " " + std::to_string(number) + " " + joined(name);
        EXPECT_TRUE(holds(list, words + ",") || holds(list, words + ".") ||
                    holds(list, words + ";"))
            << words;
    };
    for (int i = 0; i <= static_cast<int>(Verb::Failed); ++i)
        expect_named(rule.substr(0, half + 1), i, name_of(static_cast<Verb>(i)));
    const auto is_cause = [](int i) {
        return i == 0 || name_of(static_cast<Cause>(i)) != name_of(Cause::Unknown);
    };
    for (int i = 0; is_cause(i); ++i)
        expect_named(rule.substr(half), i, name_of(static_cast<Cause>(i)));
}

class Unit : public testing::TestWithParam<std::pair<const char*, const char*>> {
  protected:
    std::string text() const {
        return source(std::string{"deploy/systemd/"} + GetParam().first + ".service");
    }
    /// What the one line of that name says.
    std::string value(const std::string& key) const {
        const std::vector<std::string> found = lines(text(), key + "=");
        EXPECT_EQ(found.size(), 1U) << key;
        return found.empty() ? std::string{} : found[0].substr(key.size() + 1);
    }
};

TEST_P(Unit, GivesItsProgramOnlyWordsThatItKnows) {
    const std::string program = source(GetParam().second);
    for (const char* key : {"ExecStart", "ExecReload"}) {
        std::istringstream words{value(key)};
        std::string name;
        words >> name;
        EXPECT_EQ(name, GetParam().first);
        for (std::string word; words >> word;) {
            if (!word.starts_with("-")) continue;
            EXPECT_TRUE(holds(program, "\"" + word + ",")) << word;
            if (word != "-s") continue;
            words >> word;
            EXPECT_NE(find_verb(word), nullptr) << word;
        }
    }
}

TEST_P(Unit, DoesNotRepeatAStartThatCannotWork) {
    EXPECT_EQ(value("RestartPreventExitStatus"),
              std::to_string(kExitConfig) + " " + std::to_string(kExitUsage));
}

TEST_P(Unit, LetsAStopTakeItsTime) {
    const SlotTimeouts timeouts;
    // Workers, then the relay: each is told, and then killed.
    const base::Duration longest =
        MasterSpec{}.shutdown_timeout + 2 * (timeouts.term + timeouts.kill);
    EXPECT_GT(std::chrono::seconds{std::stoi(value("TimeoutStopSec"))}, longest);
    EXPECT_EQ(value("KillMode"), "mixed");
}

TEST_P(Unit, GivesItsProgramControlGroupsThatItMayWriteTo) {
    EXPECT_EQ(value("Delegate"), "yes");
    EXPECT_TRUE(lines(text(), "ProtectControlGroups=").empty());
}

INSTANTIATE_TEST_SUITE_P(Deploy,
                         Unit,
                         testing::Values(std::pair{"forkmilld", "broker/main.cc"},
                                         std::pair{"forkmill-worker", "worker/command_line.cc"}),
                         [](const auto& unit) {
                             return unit.param.first == std::string{"forkmilld"} ? "broker"
                                                                                 : "worker";
                         });

}  // namespace
}  // namespace forkmill::supervisor
