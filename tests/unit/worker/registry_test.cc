// SPDX-License-Identifier: Apache-2.0
// Names to code: what a template may ask for, and what it gets told when it asks for something
// else.
#include "worker/registry.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "worker/embedded.h"

namespace forkmill::worker {
namespace {

void thunk(const void*, const detail::Arguments&, detail::Buffer&) {}
int target(int x) {
    return x;
}

detail::TaskEntry entry(const std::string& name, const std::string& signature = "i32(i32)") {
    detail::TaskEntry made;
    made.name = name;
    made.signature = signature;
    made.thunk = &thunk;
    return made;
}

/// The offset of an address in the program, as a client would name it.
std::string part(const LoadedImages& images, const void* address) {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    // The load address is where offset 0 of the program is; ask by trying the page's own offset.
    const void* base = images.program_base();
    std::array<char, 32> hex{};
    std::snprintf(hex.data(),
                  hex.size(),
                  "%lx",
                  static_cast<unsigned long>(at - reinterpret_cast<std::uintptr_t>(base)));
    return images.program_build() + "+" + hex.data();
}

TEST(Registry, FindsWhatWasBound) {
    Registry registry;
    ASSERT_TRUE(registry.add({entry("a.b"), entry("c")}, "the program"));
    const Found found = registry.find("a.b", "i32(i32)");
    ASSERT_NE(found.entry, nullptr);
    EXPECT_EQ(found.entry->name, "a.b");
    EXPECT_EQ(registry.size(), 2U);
}

TEST(Registry, UnknownNamesAreNoSuchTask) {
    Registry registry;
    const Found found = registry.find("nowhere", "i32(i32)");
    EXPECT_EQ(found.entry, nullptr);
    EXPECT_EQ(found.refusal.code, wire::Code::NoSuchTask);
    EXPECT_NE(found.refusal.text.find("nowhere"), std::string::npos);
}

TEST(Registry, AnotherSignatureNamesBothTexts) {
    Registry registry;
    ASSERT_TRUE(registry.add({entry("task", "i32(str)")}, "lib.so"));
    const Found found = registry.find("task", "i32(i32)");
    EXPECT_EQ(found.refusal.code, wire::Code::SignatureMismatch);
    EXPECT_NE(found.refusal.text.find("i32(str)"), std::string::npos);
    EXPECT_NE(found.refusal.text.find("i32(i32)"), std::string::npos);
}

TEST(Registry, ANameBoundTwiceNamesBothOriginsAndAddsNothing) {
    Registry registry;
    ASSERT_TRUE(registry.add({entry("task")}, "/lib/one.so"));
    const base::Status second = registry.add({entry("other"), entry("task")}, "/lib/two.so");
    ASSERT_FALSE(second);
    EXPECT_NE(second.failure().text.find("/lib/one.so"), std::string::npos);
    EXPECT_NE(second.failure().text.find("/lib/two.so"), std::string::npos);
    EXPECT_EQ(registry.find("other", "i32(i32)").entry, nullptr);
    EXPECT_FALSE(registry.add({entry("x"), entry("x")}, "/lib/three.so"));
}

TEST(Registry, RefusesNamesThatCannotTravel) {
    Registry registry;
    for (const std::string& name :
         {std::string{}, std::string{"@abc"}, std::string(129, 'n'), std::string{"a\nb"}})
        EXPECT_FALSE(registry.add({entry(name)}, "the program")) << name;
    EXPECT_FALSE(registry.add({entry("long", std::string(2000, 's'))}, "the program"));
}

TEST(Registry, ABareFunctionOfThisProgramIsFoundByBuildAndOffset) {
    Registry registry;
    registry.add_loaded_images();
    const LoadedImages images = LoadedImages::of_this_process();
    ASSERT_FALSE(images.program_build().empty());
    const std::string name = "@" + part(images, reinterpret_cast<const void*>(&target)) + ":" +
                             part(images, reinterpret_cast<const void*>(&thunk));
    const Found found = registry.find(name, "i32(i32)");
    ASSERT_NE(found.entry, nullptr) << found.refusal.text;
    EXPECT_EQ(found.entry->function, reinterpret_cast<const void*>(&target));
    EXPECT_EQ(found.entry->thunk, &thunk);
    EXPECT_EQ(registry.find(name, "i32(i32)").entry, found.entry);
}

TEST(Registry, ForeignAndCraftedFunctionNamesReachNoCode) {
    Registry registry;
    registry.add_loaded_images();
    const LoadedImages images = LoadedImages::of_this_process();
    const std::string code = part(images, reinterpret_cast<const void*>(&thunk));
    static const int data = 5;
    const std::string no_code = part(images, &data);
    EXPECT_EQ(registry.find("@00ff+10:" + code, "s").refusal.code, wire::Code::ForeignCode);
    EXPECT_EQ(registry.find("@" + code + ":00ff+10", "s").refusal.code, wire::Code::ForeignCode);
    EXPECT_EQ(registry.find("@" + no_code + ":" + code, "s").refusal.code, wire::Code::ForeignCode);
    EXPECT_EQ(registry.find("@" + code + ":" + images.program_build() + "+ffffffffffffff", "s")
                  .refusal.code,
              wire::Code::ForeignCode);
    for (const char* bad : {"@",
                            "@:",
                            "@xyz+1:xyz+2",
                            "@ab+:ab+1",
                            "@ab+1",
                            "@ab+1:ab+zz",
                            "@ab+11111111111111111111:ab+1"})
        EXPECT_EQ(registry.find(bad, "s").refusal.code, wire::Code::InvalidName) << bad;
}

TEST(Registry, OffersNamesAndBuilds) {
    Registry registry;
    ASSERT_TRUE(registry.add({entry("task", "sig")}, "the program"));
    registry.add_loaded_images();
    const std::vector<wire::Offer> offers = registry.offers();
    ASSERT_GE(offers.size(), 2U);
    EXPECT_EQ(offers[0].name, "task");
    EXPECT_EQ(offers[0].signature, "sig");
    EXPECT_EQ(offers[1].name, "@" + registry.build());
}

TEST(TaskEntries, SurviveTheWayToAProcessOfTheSameImage) {
    class Doubler final : public detail::Runner {
      public:
        void run(const detail::Arguments&, detail::Buffer& result) const override {
            result.resize(2);
        }
    };
    std::vector<detail::TaskEntry> tasks{entry("plain"), entry("stateful")};
    tasks[0].function = reinterpret_cast<const void*>(&target);
    tasks[1].runner = std::make_shared<Doubler>();
    const std::vector<detail::TaskEntry> back = unpack_task_entries(pack_task_entries(tasks));
    ASSERT_EQ(back.size(), 2U);
    EXPECT_EQ(back[0].name, "plain");
    EXPECT_EQ(back[0].thunk, &thunk);
    EXPECT_EQ(back[0].function, tasks[0].function);
    detail::Buffer result;
    back[1].runner->run({}, result);
    EXPECT_EQ(result.size(), 2U);
}

TEST(TaskEntries, CutBytesGiveNoWildAddresses) {
    std::vector<std::byte> bytes = pack_task_entries({entry("plain")});
    bytes.resize(bytes.size() / 2);
    for (const detail::TaskEntry& task : unpack_task_entries(bytes))
        EXPECT_EQ(task.function, nullptr);
    EXPECT_TRUE(unpack_task_entries({}).empty());
}

}  // namespace
}  // namespace forkmill::worker
