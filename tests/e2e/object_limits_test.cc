// SPDX-License-Identifier: Apache-2.0
// limits of shared objects in broker.yaml: each bites, as Busy that names its key, and so do those
// of a reload.
#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <string>

#include "forkmill/forkmill.h"
#include "forkmill/shared.h"
#include "tests/e2e/site.h"
#include "tests/support/wait_until.h"

namespace {

using namespace forkmill::e2e;
using namespace std::chrono_literals;
using forkmill::test::read_text;
using forkmill::test::wait_until;

class ObjectLimits : public Site {
  protected:
    static BrokerWanted with(const std::string& limits) {
        return {.workers = 1, .yaml = "limits: {" + limits + "}\n"};
    }
    static int times(const std::string& text, const std::string& words) {
        int found = 0;
        for (auto at = text.find(words); at != std::string::npos; at = text.find(words, at + 1))
            ++found;
        return found;
    }
    /// Reloads with these limits and waits until that is over; false: they were refused.
    bool reload(Daemon& broker, const std::string& limits) {
        write_broker_config(with(limits));
        const auto done = [&] { return times(read_text(broker.log), "reload done"); };
        const auto over = [&] { return done() + times(read_text(broker.log), "reload ended"); };
        const int done_before = done();
        const int over_before = over();
        EXPECT_EQ(::kill(broker.program->pid(), SIGHUP), 0);
        EXPECT_TRUE(wait_until([&] { return over() > over_before; }, kLimit));
        return done() > done_before;
    }
    /// It ends with Busy, and that names the key.
    static void expect_busy(const std::string& key, const std::function<void()>& act) {
        try {
            act();
            ADD_FAILURE() << "beyond limits." << key;
        } catch (const forkmill::Busy& error) {
            const std::string said = error.what();
            EXPECT_NE(said.find("limits." + key), std::string::npos) << said;
        }
    }
};

TEST_F(ObjectLimits, EachBitesAndLeavesEverythingAsItWas) {
    start_broker(
        with("objects: 2, object_waits_per_session: 2, object_waits: 3, object_memory: 64KiB"));
    forkmill::Pool pool{ipc()};
    forkmill::Queue<int> queue{pool};
    forkmill::Dict<std::string, std::string> dict{pool};
    expect_busy("objects", [&] { const forkmill::Lock third{pool}; });

    dict.set("k", "small");
    expect_busy("object_memory", [&] { dict.set("k", std::string(100'000, 'x')); });
    EXPECT_EQ(dict.at("k"), "small");

    auto first = queue.get_async();
    auto second = queue.get_async();
    expect_busy("object_waits_per_session", [&] { queue.get(); });
    queue.put(1);
    queue.put(2);
    EXPECT_EQ(first.get(), 1);
    EXPECT_EQ(second.get(), 2);
    EXPECT_EQ(queue.size(), 0U) << "who was refused got nothing";
}

TEST_F(ObjectLimits, AReloadChangesThemAndOneThatFailsDoesNot) {
    Daemon& broker = start_broker(with("objects: 1"));
    forkmill::Pool pool{ipc()};
    forkmill::Value<int> first{pool, 7};
    const auto another = [&] { const forkmill::Lock lock{pool}; };
    expect_busy("objects", another);

    EXPECT_FALSE(reload(broker, "objects: many"));
    EXPECT_NE(read_text(broker.log).find("broker.yaml:"), std::string::npos);
    EXPECT_EQ(first.get(), 7);
    expect_busy("objects", another);

    ASSERT_TRUE(reload(broker, "objects: 2, object_memory: 64KiB"));
    EXPECT_THROW(first.get(), forkmill::ObjectLost) << "another router has its own objects";
    forkmill::Dict<std::string, std::string> dict{pool};
    const forkmill::Lock second{pool};
    expect_busy("objects", another);
    expect_busy("object_memory", [&] { dict.set("k", std::string(100'000, 'x')); });
    EXPECT_EQ(dict.size(), 0U);
}

}  // namespace
