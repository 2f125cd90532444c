// SPDX-License-Identifier: Apache-2.0
#include "core/net/framing.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/net/listen.h"
#include "core/net/send_queue.h"
#include "tests/unit/net/net_support.h"

#include <sys/socket.h>

namespace forkmill::net {
namespace {

using Step = FrameReader::Step;

std::string encode(const base::Message& message) {
    std::array<std::byte, kHeaderMax> header;
    std::string bytes{reinterpret_cast<const char*>(header.data()),
                      write_header(message, header.data())};
    bytes += base::text_of(message.control);
    for (const base::Blob& payload : message.payloads) bytes += base::text_of(payload);
    return bytes;
}

void expect_same(const base::Message& got, const base::Message& want) {
    EXPECT_EQ(base::text_of(got.control), base::text_of(want.control));
    ASSERT_EQ(got.payloads.size(), want.payloads.size());
    for (std::size_t i = 0; i < got.payloads.size(); ++i)
        EXPECT_EQ(base::text_of(got.payloads[i]), base::text_of(want.payloads[i]));
}

std::vector<base::Message> samples() {
    std::vector<base::Message> messages{
        make_message({""}),
        make_message({"a", "", "b"}),
        make_message({std::string(5000, 'c'), std::string(5000, 'p')}),
        make_message({"ctl", std::string(100'000, 'q'), "", "z"})};
    base::Message wide = make_message({"w"});
    for (int i = 0; i < 63; ++i)
        wide.payloads.push_back(make_sized(static_cast<std::size_t>(i) * 7, 'w').control);
    messages.push_back(wide);
    return messages;
}

TEST(FrameReader, ReadsTheSameMessagesHoweverTheBytesAreCut) {
    std::mt19937 random{11};
    std::string stream;
    for (int round = 0; round < 3; ++round)
        for (const base::Message& message : samples()) stream += encode(message);
    for (std::size_t most : {1UL, 2UL, 3UL, 17UL, 5000UL, 1'000'000UL}) {
        FrameReader reader;
        std::size_t read = 0;
        std::size_t position = 0;
        while (position < stream.size()) {
            const std::size_t size = std::min(stream.size() - position, 1 + random() % most);
            const base::Blob chunk =
                base::Blob::copy(base::bytes_of(std::string_view{stream}.substr(position, size)));
            position += size;
            // Half of the time the way of a socket read: what is missing goes to its place.
            std::size_t begin = 0;
            if (random() % 2 == 0 && !reader.missing().empty()) {
                begin = std::min(reader.missing().size(), size);
                std::memcpy(reader.missing().data(), chunk.data(), begin);
                reader.filled(begin);
            }
            base::Message message;
            Step step;
            while ((step = reader.next(chunk, begin, size, message)) == Step::Message)
                expect_same(message, samples()[read++ % 5]);
            ASSERT_EQ(step, Step::More);
        }
        EXPECT_EQ(read, 15U);
        EXPECT_FALSE(reader.inside());
    }
}

TEST(FrameReader, GivesLargePayloadsABlockOfTheirOwnAndNothingElse) {
    const std::string bytes = encode(
        make_message({std::string(9000, 'c'), std::string(4095, 's'), std::string(4096, 'l')}));
    const base::Blob chunk = base::Blob::copy(base::bytes_of(bytes));
    const auto inside = [&](const base::Blob& blob) {
        return blob.data() >= chunk.data() && blob.data() < chunk.data() + chunk.size();
    };
    FrameReader reader;
    base::Message message;
    std::size_t begin = 0;
    ASSERT_EQ(reader.next(chunk, begin, chunk.size(), message), Step::Message);
    EXPECT_TRUE(inside(message.control));
    EXPECT_TRUE(inside(message.payloads[0]));
    EXPECT_FALSE(inside(message.payloads[1]));
}

std::string lengths(std::initializer_list<std::uint32_t> numbers) {
    std::string bytes;
    for (const std::uint32_t number : numbers)
        for (int shift = 0; shift < 32; shift += 8)
            bytes += static_cast<char>(number >> shift & 0xff);
    return bytes;
}

TEST(FrameReader, RefusesWhatBreaksTheLimitsAsSoonAsItIsSaid) {
    constexpr auto kFrame = static_cast<std::uint32_t>(wire::kFrameMax);
    const std::vector<std::string> bad{lengths({0}),
                                       lengths({wire::kMessageFramesMax + 1}),
                                       lengths({0xffffffff}),
                                       lengths({1, kFrame + 1}),
                                       lengths({1, 0xffffffff}),
                                       lengths({2, kFrame, kFrame}),
                                       "GET / HTTP/1.1\r\n\r\n"};
    for (const std::string& bytes : bad) {
        const base::Blob chunk = base::Blob::copy(base::bytes_of(bytes));
        FrameReader reader;
        base::Message message;
        std::size_t begin = 0;
        ASSERT_EQ(reader.next(chunk, begin, chunk.size(), message), Step::Broken) << bytes.size();
        EXPECT_FALSE(reader.reason().empty());
        EXPECT_TRUE(reader.missing().empty());
        EXPECT_EQ(reader.next(chunk, begin, chunk.size(), message), Step::Broken);
    }
}

TEST(FrameReader, TakesTheLargestMessageAllowed) {
    const std::string bytes =
        lengths({2,
                 static_cast<std::uint32_t>(wire::kFrameMax),
                 static_cast<std::uint32_t>(wire::kMessageBytesMax - wire::kFrameMax)});
    const base::Blob chunk = base::Blob::copy(base::bytes_of(bytes));
    FrameReader reader;
    base::Message message;
    std::size_t begin = 0;
    EXPECT_EQ(reader.next(chunk, begin, chunk.size(), message), Step::More);
    EXPECT_EQ(reader.missing().size(), wire::kFrameMax);
}

struct Pipe {
    Pipe() {
        auto made = local_socket_pair();
        EXPECT_TRUE(made.ok());
        ours = std::move(made.value().first);
        theirs = std::move(made.value().second);
    }
    std::string read_all() {
        std::string got;
        std::array<char, 65536> bytes;
        for (ssize_t n = 0;
             (n = ::recv(theirs.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0;)
            got.append(bytes.data(), static_cast<std::size_t>(n));
        return got;
    }
    UniqueFd ours;
    UniqueFd theirs;
};

TEST(SendQueue, WritesEveryByteInOrderThroughAStallingPeer) {
    Pipe pipe;
    SmallBytes small;
    SendQueue queue{10'000, 100'000'000};
    std::string want;
    std::string got;
    for (int round = 0; round < 200; ++round) {
        for (const base::Message& message : samples()) {
            ASSERT_TRUE(queue.push(message, small));
            want += encode(message);
        }
        queue.write(pipe.ours.get());
        if (round % 7 == 0) got += pipe.read_all();
    }
    while (!queue.empty()) {
        got += pipe.read_all();
        ASSERT_NE(queue.write(pipe.ours.get()), SendQueue::Wrote::Broken);
    }
    got += pipe.read_all();
    EXPECT_TRUE(got == want);
    EXPECT_EQ(queue.bytes(), 0U);
    EXPECT_EQ(queue.messages(), 0U);
}

TEST(SendQueue, GathersSmallMessagesOfOneTurnIntoOnePiece) {
    Pipe pipe;
    SmallBytes small;
    SendQueue queue{10'000, 100'000'000};
    for (int i = 0; i < 1000; ++i) ASSERT_TRUE(queue.push(make_message({"tiny"}), small));
    ASSERT_EQ(queue.messages(), 1000U);
    std::array<char, 100'000> bytes;
    ASSERT_EQ(queue.write(pipe.ours.get()), SendQueue::Wrote::All);
    EXPECT_EQ(::recv(pipe.theirs.get(), bytes.data(), bytes.size(), 0), 12'000);
}

TEST(SendQueue, LeavesTheSmallBytesFreeWhenThePeerStalls) {
    Pipe pipe;
    SmallBytes small;
    SendQueue queue{100'000, 100'000'000};
    while (queue.write(pipe.ours.get()) == SendQueue::Wrote::All) {
        for (int i = 0; i < 100; ++i) ASSERT_TRUE(queue.push(make_message({"tiny"}), small));
    }
    ASSERT_FALSE(queue.empty());
    EXPECT_TRUE(small.chunk().unique());
}

TEST(SendQueue, KeepsItsBoundsAndTakesAnyMessageWhenEmpty) {
    SmallBytes small;
    SendQueue by_count{2, 1'000'000};
    EXPECT_TRUE(by_count.push(make_message({"1"}), small));
    EXPECT_TRUE(by_count.push(make_message({"2"}), small));
    EXPECT_FALSE(by_count.push(make_message({"3"}), small));
    SendQueue by_bytes{100, 1000};
    EXPECT_TRUE(by_bytes.push(make_sized(5000, 'x'), small));
    EXPECT_FALSE(by_bytes.push(make_message({"y"}), small));
    Pipe pipe;
    EXPECT_EQ(by_bytes.write(pipe.ours.get()), SendQueue::Wrote::All);
    EXPECT_TRUE(by_bytes.push(make_message({"y"}), small));
}

TEST(SendQueue, SaysBrokenWhenThePeerIsGone) {
    Pipe pipe;
    SmallBytes small;
    SendQueue queue{10, 1000};
    ASSERT_TRUE(queue.push(make_message({"x"}), small));
    pipe.theirs.reset();
    EXPECT_EQ(queue.write(pipe.ours.get()), SendQueue::Wrote::Broken);
}

}  // namespace
}  // namespace forkmill::net
