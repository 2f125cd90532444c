// SPDX-License-Identifier: Apache-2.0
// What strangers and broken peers say on a port: a typed answer, no effect, and everybody else is
// served as before. The unit tests of core/wire, core/net and the gateway go into each more deeply.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "core/wire/codec.h"
#include "core/wire/limits.h"
#include "tests/e2e/raw_peer.h"
#include "tests/e2e/site.h"
#include "tests/e2e/tasks.h"
#include "tests/support/wait_until.h"

namespace {

using namespace forkmill::e2e;
using namespace std::chrono_literals;
using forkmill::base::bytes_of;
using forkmill::base::Message;
using forkmill::test::full_or_twentieth;
namespace wire = forkmill::wire;
using wire::Code;
using wire::Kind;

/// kB of the router's memory, whatever is said to it.
constexpr long kGrowthMax = 48 * 1024;

long resident_kb(pid_t pid) {
    std::ifstream status{"/proc/" + std::to_string(pid) + "/status"};
    for (std::string line; std::getline(status, line);)
        if (long kb = 0; std::sscanf(line.c_str(), "VmRSS: %ld", &kb) == 1) return kb;
    return 0;
}

wire::Hello hello_of(wire::Role role, std::uint64_t key) {
    wire::Hello hello;
    hello.role = role;
    hello.session = {key, key};
    hello.stream = key;
    hello.generation = 1;
    hello.host = "stranger";
    return hello;
}

wire::Hello worker_hello(std::uint64_t key) {
    wire::Hello hello = hello_of(wire::Role::Worker, key);
    hello.host_key = "stranger";
    hello.pool = "raw";
    hello.slot = static_cast<std::uint32_t>(key);
    hello.queues = {"raw"};
    hello.offers = {{"raw.task", "()"}};
    return hello;
}

/// Prefix, then the array whose bytes are given.
std::string frame(Kind kind, std::string_view array) {
    std::string bytes = "FM";
    bytes += static_cast<char>(wire::kMajor);
    bytes += static_cast<char>(kind);
    return bytes.append(array);
}

class WireAbuse : public Site {
  protected:
    void SetUp() override {
        port_ = free_port();
        endpoint_ = "tcp://127.0.0.1:" + std::to_string(port_);
        broker_ = &start_broker(
            {.listen = endpoint_, .workers = 1, .yaml = "queues:\n  raw:\n    weight: 1\n"});
        EXPECT_TRUE(serves());
        router_ = router_of(*broker_);
        resident_ = resident_kb(router_);
    }

    void TearDown() override {
        EXPECT_TRUE(serves());
        EXPECT_EQ(router_of(*broker_), router_) << "the router died of it";
        EXPECT_LT(resident_kb(router_) - resident_, growth_max_);
        std::string log;
        std::ifstream file{broker_->log, std::ios::binary};
        log.assign(std::istreambuf_iterator<char>{file}, {});
        EXPECT_EQ(log.find('\x1b'), std::string::npos) << "the log repeats a stranger's bytes";
        Site::TearDown();
    }

    /// An honest client is served.
    bool serves() const {
        forkmill::Pool pool{endpoint_};
        return pool.apply_async(echo, std::string{"still here"}).get(kLimit) == "still here";
    }

    RawPeer stranger() const {
        RawPeer peer{port_};
        EXPECT_TRUE(peer.greet());
        return peer;
    }
    RawPeer session(const wire::Hello& hello) const {
        RawPeer peer = stranger();
        peer.say(wire::encode({Kind::Hello}, hello));
        EXPECT_TRUE(peer.hear_as<wire::Welcome>(Kind::Welcome).has_value());
        return peer;
    }
    RawPeer client() const {
        static std::uint64_t key = 1000;
        return session(hello_of(wire::Role::Client, ++key));
    }

    /// What a stranger, before any HELLO, is told about these bytes.
    Code rejection_of(std::string_view bytes) const {
        RawPeer peer = stranger();
        EXPECT_TRUE(peer.say_frame(bytes));
        const auto reject = peer.hear_as<wire::Reject>(Kind::Reject);
        return reject ? reject->code : Code::None;
    }
    /// What a client within its session is told.
    Code error_of(std::string_view bytes) const {
        RawPeer peer = client();
        EXPECT_TRUE(peer.say_frame(bytes));
        const auto err = peer.hear_as<wire::Err>(Kind::Err);
        return err ? err->code : Code::None;
    }

    int port_ = 0;
    std::string endpoint_;
    Daemon* broker_ = nullptr;
    pid_t router_ = 0;
    long resident_ = 0;
    long growth_max_ = kGrowthMax;
};

TEST_F(WireAbuse, Case01AnEmptyMessageIsProtoEmpty) {
    EXPECT_EQ(rejection_of(""), Code::ProtoEmpty);
    EXPECT_EQ(error_of(""), Code::ProtoEmpty);
}

TEST_F(WireAbuse, Case02AnotherVersionIsToldTheSupportedOne) {
    RawPeer peer = stranger();
    peer.say_frame("FM\x02\x01\x90");
    const auto reject = peer.hear_as<wire::Reject>(Kind::Reject);
    ASSERT_TRUE(reject.has_value());
    EXPECT_EQ(reject->code, Code::ProtoVersion);
    EXPECT_NE(reject->text.find("protocol 1"), std::string::npos) << reject->text;
    EXPECT_TRUE(peer.hung_up(5s));
}

TEST_F(WireAbuse, Case03AnUnknownKindIsProtoKind) {
    EXPECT_EQ(rejection_of(frame(static_cast<Kind>(0x7f), "\x93\x01\x01\x01")), Code::ProtoKind);
    EXPECT_EQ(error_of(frame(static_cast<Kind>(0x7f), "\x93\x01\x01\x01")), Code::ProtoKind);
}

TEST_F(WireAbuse, Case04TruncatedFramesAreDecode) {
    const Message hello = wire::encode({Kind::Hello}, hello_of(wire::Role::Client, 5));
    const std::string whole{forkmill::base::text_of(hello.control.view())};
    for (const std::size_t cut : {std::size_t{5}, std::size_t{20}, whole.size() - 1})
        EXPECT_EQ(rejection_of(whole.substr(0, cut)), Code::Decode) << cut;
}

TEST_F(WireAbuse, Case05TrailingBytesAreDecodeTrailing) {
    const Message hello = wire::encode({Kind::Hello}, hello_of(wire::Role::Client, 5));
    EXPECT_EQ(rejection_of(std::string{forkmill::base::text_of(hello.control.view())} + '\xc0'),
              Code::DecodeTrailing);
}

TEST_F(WireAbuse, Case06AnArrayBombIsLimitElements) {
    const std::string bomb("\xdd\xff\xff\xff\xff", 5);
    EXPECT_EQ(error_of(frame(Kind::Cancel, std::string("\x95\x01\x00\x00", 4) + bomb + "\xc2")),
              Code::LimitElements);
}

TEST_F(WireAbuse, Case07DepthIsLimitDepth) {
    // In an element that a newer peer might have: ignored, but not before it was judged.
    const std::string tail = std::string("\x97\x01\x00\x00\x90\xc2\xc2", 7);
    EXPECT_EQ(error_of(frame(Kind::Cancel, tail + std::string(1'000'000, '\x91'))),
              Code::LimitDepth);
}

TEST_F(WireAbuse, Case08And09ExtensionsAndMapsAreBadType) {
    const std::string head("\x95\x01\x00\x00", 4);
    EXPECT_EQ(error_of(frame(Kind::Cancel, head + std::string("\xd4\x05\x00", 3) + "\xc2")),
              Code::BadType);
    EXPECT_EQ(error_of(frame(Kind::Cancel, head + std::string("\xd6\xff\x00\x00\x00\x01", 6))),
              Code::BadType);
    EXPECT_EQ(error_of(frame(Kind::Cancel, head + "\x82\x01\x01\x01\x02")), Code::BadType);
}

TEST_F(WireAbuse, Case10NamesThatAreNoneAreInvalidName) {
    for (const std::string& name : {std::string{"a\nb"},
                                    std::string{"../../x"},
                                    std::string{"\x1b[2J"},
                                    std::string{"nul\0", 4},
                                    std::string{"\xff\xfe"}}) {
        wire::TemplateDef def;
        def.id = 1;
        def.name = name;
        RawPeer peer = client();
        peer.say(wire::encode({Kind::Template, 1}, def));
        const auto err = peer.hear_as<wire::Err>(Kind::Err);
        ASSERT_TRUE(err.has_value());
        EXPECT_EQ(err->code, Code::InvalidName);
    }
}

TEST_F(WireAbuse, Case11AFrameOf17MebibytesEndsTheConnection) {
    RawPeer peer = client();
    std::string head("\x02\0\0\0\0\x01\x10\0\0", 9);  // LONG, 17 MiB.
    EXPECT_TRUE(peer.say_bytes(head));
    EXPECT_TRUE(peer.hung_up(5s));
}

TEST_F(WireAbuse, Case12AMessageOfAMillionPartsEndsTheConnection) {
    // libzmq holds a message until its last part is there, 64 bytes for each part: a million of
    // them are 61 MiB, which the allocator may keep.
    growth_max_ = 80 * 1024;
    RawPeer peer = client();
    std::string parts;
    for (int i = 0; i < 1000; ++i) parts += std::string("\x01\x00", 2);
    for (int i = 0; i < 1000; ++i)
        if (!peer.say_bytes(parts)) break;
    peer.say_bytes(std::string("\x00\x00", 2));
    EXPECT_TRUE(peer.hung_up(5s));
}

TEST_F(WireAbuse, Case13OtherProtocolsAreHungUpOn) {
    for (const std::string& words :
         {std::string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
          std::string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11},
          std::string{"HELO there\r\n"}}) {
        RawPeer peer{port_};
        peer.say_bytes(words);
        EXPECT_TRUE(peer.hung_up(5s)) << words;
    }
}

TEST_F(WireAbuse, Case14HalfOpenHandshakesDoNotKeepOthersOut) {
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    std::vector<RawPeer> silent;
    const int many = full_or_twentieth(10'000);
    silent.reserve(static_cast<std::size_t>(many));
    for (int i = 0; i < many; ++i) {
        silent.emplace_back(port_);
        silent.back().say_bytes(std::string("\xff\0\0\0", 4));
    }
    EXPECT_TRUE(serves());
}

/// A broker without workers of its own: raw ones take what a raw client submits.
class LeaseAbuse : public WireAbuse {
  protected:
    RawPeer submitter() const {
        RawPeer peer = client();
        wire::TemplateDef def;
        def.id = 1;
        def.name = "raw.task";
        def.signature = "()";
        def.queue = "raw";
        peer.say(wire::encode({Kind::Template, 1}, def));
        peer.say(wire::encode({Kind::Credit, 2}, wire::Credit{100, 100'000}));
        wire::SubmitWriter writer;
        wire::SubmitRecord record;
        record.seq = 1;
        record.template_id = 1;
        record.body = wire::BodyRef::of(bytes_of("arguments"));
        writer.add(record);
        peer.say(writer.finish({Kind::Submit, 3, 0, 0}));
        return peer;
    }
    /// Takes a task over; its lease.
    static std::uint64_t lease_of(RawPeer& worker) {
        while (const auto text = worker.hear()) {
            Message message;
            message.control = forkmill::base::Blob::copy(bytes_of(*text));
            wire::Header header;
            wire::Cursor cursor;
            if (wire::decode_header(message, header, cursor) != Code::None ||
                header.kind != Kind::Tasks)
                continue;
            wire::TasksReader reader{cursor, message};
            wire::TaskRecord record;
            return reader.next(record) ? record.lease : 0;
        }
        return 0;
    }
    static Message result(std::uint64_t number, std::uint64_t lease, std::string_view body) {
        wire::ResultsWriter writer;
        writer.add(lease, wire::Outcome::Succeeded, wire::BodyRef::of(bytes_of(body)));
        return writer.finish({Kind::Results, number, 0, 0});
    }
    /// The body of the client's next result.
    static std::string outcome_of(RawPeer& peer) {
        while (const auto text = peer.hear()) {
            Message message;
            message.control = forkmill::base::Blob::copy(bytes_of(*text));
            wire::Header header;
            wire::Cursor cursor;
            if (wire::decode_header(message, header, cursor) != Code::None ||
                header.kind != Kind::Results)
                continue;
            wire::ResultsReader reader{cursor, message};
            wire::ResultRecord record;
            if (reader.next(record))
                return std::string{forkmill::base::text_of(record.body.body.view)};
        }
        return "nothing";
    }
};

TEST_F(LeaseAbuse, Case15And16AResultForNobodysLeaseIsStale) {
    RawPeer worker = session(worker_hello(1));
    for (const std::uint64_t lease : {std::uint64_t{1} << 32 | 7, UINT64_MAX}) {
        static std::uint64_t number = 0;
        worker.say(result(++number, lease, "made up"));
        const auto stale = worker.hear_as<wire::Stale>(Kind::Stale);
        ASSERT_TRUE(stale.has_value());
        EXPECT_EQ(stale->leases, std::vector<std::uint64_t>{lease});
    }
}

TEST_F(LeaseAbuse, Case17AnIncarnationThatNeverWasResumesNothing) {
    wire::Hello hello = hello_of(wire::Role::Client, 9);
    hello.incarnation = 1'000'000;
    hello.received = 5000;
    RawPeer peer = stranger();
    peer.say(wire::encode({Kind::Hello}, hello));
    const auto welcome = peer.hear_as<wire::Welcome>(Kind::Welcome);
    ASSERT_TRUE(welcome.has_value());
    EXPECT_FALSE(welcome->resumed);
    EXPECT_LT(welcome->incarnation, 1'000'000U);
}

TEST_F(LeaseAbuse, Case18AResultOfAnotherWorkerIsStaleAndTheHoldersCounts) {
    RawPeer holder = session(worker_hello(1));
    RawPeer submits = submitter();
    const std::uint64_t lease = lease_of(holder);
    ASSERT_NE(lease, 0U);
    RawPeer thief = session(worker_hello(2));
    thief.say(result(1, lease, "stolen"));
    EXPECT_TRUE(thief.hear_as<wire::Stale>(Kind::Stale).has_value());
    holder.say(result(1, lease, "earned"));
    EXPECT_EQ(outcome_of(submits), "earned");
}

TEST_F(LeaseAbuse, Case19TheSameResultTwiceCountsOnce) {
    RawPeer holder = session(worker_hello(1));
    RawPeer submits = submitter();
    const std::uint64_t lease = lease_of(holder);
    holder.say(result(1, lease, "first"));
    holder.say(result(1, lease, "the same frame again"));
    holder.say(result(2, lease, "another frame"));
    EXPECT_TRUE(holder.hear_as<wire::Stale>(Kind::Stale).has_value());
    EXPECT_EQ(outcome_of(submits), "first");
}

TEST_F(LeaseAbuse, Case20NobodySpeaksInAnothersRole) {
    RawPeer peer = client();
    peer.say(result(1, 1, "I am no worker"));
    auto err = peer.hear_as<wire::Err>(Kind::Err);
    ASSERT_TRUE(err.has_value());
    EXPECT_EQ(err->code, Code::DeniedRole);
    RawPeer uplink = session(hello_of(wire::Role::Uplink, 12));
    wire::SubmitWriter writer;
    wire::SubmitRecord record;
    record.seq = 1;
    record.body = wire::BodyRef::of(bytes_of("x"));
    writer.add(record);
    uplink.say(writer.finish({Kind::Submit, 1, 0, 0}));
    err = uplink.hear_as<wire::Err>(Kind::Err);
    ASSERT_TRUE(err.has_value());
    EXPECT_EQ(err->code, Code::DeniedRole);
}

TEST_F(LeaseAbuse, Case26AnythingBeforeHelloIsAskedWho) {
    RawPeer peer = stranger();
    peer.say(wire::encode({Kind::Cancel, 1}, wire::Cancel{}));
    EXPECT_TRUE(peer.hear_as<wire::Bye>(Kind::Who).has_value());
}

}  // namespace
