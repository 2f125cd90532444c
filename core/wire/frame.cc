// SPDX-License-Identifier: Apache-2.0
#include "core/wire/frame.h"

#include <array>
#include <cstring>

#include "core/wire/codec.h"

namespace forkmill::wire {

namespace {

constexpr std::size_t kArrayAt = kPrefixSize;
constexpr std::size_t kNumberAt = kArrayAt + 5;
constexpr std::size_t kAckAt = kNumberAt + 9;
constexpr std::size_t kFloorAt = kAckAt + 9;
static_assert(kFloorAt + 9 == kHeaderSize);

constexpr std::array kMagic = {std::byte{'F'}, std::byte{'M'}};
constexpr std::uint32_t kHeaderFields = 3;

/// Buffers above it leave with the message instead of being copied out of and kept.
constexpr std::size_t kCopyMax = 32 * 1024;

bool is_known(Kind kind) {
    return name_of(kind) != "unknown";
}

bool may_carry_payloads(Kind kind) {
    return kind == Kind::Submit || kind == Kind::Tasks || kind == Kind::Results ||
           kind == Kind::Chunk || kind == Kind::Object || kind == Kind::ObjectReply ||
           kind == Kind::ObjectEvent;
}

Code check_sizes(const base::Message& message) {
    if (message.payloads.size() + 1 > kMessageFramesMax) return Code::ProtoParts;
    if (message.control.size() > kFrameMax) return Code::LimitSize;
    std::size_t sum = message.control.size();
    for (const base::Blob& payload : message.payloads) {
        if (payload.size() > kBodyFrameMax) return Code::LimitSize;
        sum += payload.size();
    }
    return sum <= kMessageBytesMax ? Code::None : Code::LimitSize;
}

void store_big_endian(std::byte* at, std::uint64_t value) {
    const std::uint64_t swapped = __builtin_bswap64(value);
    std::memcpy(at, &swapped, sizeof(swapped));
}

}  // namespace

void begin_frame(Writer& out) {
    const std::array<std::byte, kPrefixSize> prefix = {
        kMagic[0], kMagic[1], std::byte{kMajor}, std::byte{0}};
    out.put_raw(prefix);
    out.put_open_array();
    for (std::uint32_t i = 0; i < kHeaderFields; ++i) out.put_wide_uint(0);
}

base::Blob end_frame(Writer& out, const Header& header, std::uint32_t fields) {
    out.patch_byte(kPrefixSize - 1, static_cast<std::uint8_t>(header.kind));
    out.patch_array(kArrayAt, kHeaderFields + fields);
    out.patch_wide_uint(kNumberAt, header.number);
    out.patch_wide_uint(kAckAt, header.ack);
    out.patch_wide_uint(kFloorAt, header.floor);
    return out.release(kCopyMax);
}

void stamp(base::Message& message, std::uint64_t number, std::uint64_t ack, std::uint64_t floor) {
    FORKMILL_CHECK(message.control.size() >= kHeaderSize);
    std::byte* const frame = message.control.mutable_data();
    store_big_endian(frame + kNumberAt + 1, number);
    store_big_endian(frame + kAckAt + 1, ack);
    store_big_endian(frame + kFloorAt + 1, floor);
}

Code decode_header(const base::Message& message, Header& header, Cursor& cursor) {
    const base::ByteView frame = message.control.view();
    if (frame.empty()) return Code::ProtoEmpty;
    if (frame.size() < kPrefixSize || frame[0] != kMagic[0] || frame[1] != kMagic[1])
        return Code::ProtoMagic;
    if (std::to_integer<std::uint8_t>(frame[2]) != kMajor) return Code::ProtoVersion;
    const auto kind = static_cast<Kind>(frame[3]);
    if (!is_known(kind)) return Code::ProtoKind;
    header.kind = kind;
    if (const Code code = check_sizes(message); code != Code::None) return code;
    if (!message.payloads.empty() && !may_carry_payloads(kind)) return Code::ProtoParts;

    cursor = Cursor{frame, kPrefixSize};
    cursor.open_fields();
    for (std::uint64_t* number : {&header.number, &header.ack, &header.floor}) {
        if (!cursor.next_field()) {
            cursor.fail(Code::Decode);
            return cursor.code();
        }
        if (!cursor.read_uint(*number)) return cursor.code();
    }
    return Code::None;
}

base::Message encode_ack(std::uint64_t received, std::uint64_t floor) {
    Writer out;
    begin_frame(out);
    return {end_frame(out, {Kind::Ack, 0, received, floor}, 0), {}};
}

}  // namespace forkmill::wire
