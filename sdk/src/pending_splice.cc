// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/pending_splice.h"

#include <cstring>

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

/// What one msgpack head byte says: bytes of head and payload, and how many objects follow inside.
struct Head {
    std::size_t bytes = 0;
    std::uint64_t children = 0;
};

std::uint64_t big_endian(base::ByteView bytes, std::size_t at, std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i)
        value = value << 8 | std::to_integer<std::uint64_t>(bytes[at + i]);
    return value;
}

std::optional<Head> sized(base::ByteView bytes, std::size_t width, std::size_t extra) {
    if (bytes.size() < 1 + width) return std::nullopt;
    return Head{1 + width + extra + static_cast<std::size_t>(big_endian(bytes, 1, width)), 0};
}

std::optional<Head> container(base::ByteView bytes, std::size_t width, std::uint64_t factor) {
    if (bytes.size() < 1 + width) return std::nullopt;
    return Head{1 + width, big_endian(bytes, 1, width) * factor};
}

std::optional<Head> head_of(base::ByteView bytes) {
    if (bytes.empty()) return std::nullopt;
    const unsigned tag = std::to_integer<unsigned>(bytes[0]);
    if (tag <= 0x7f || tag >= 0xe0) return Head{1, 0};
    if (tag <= 0x8f) return Head{1, (tag & 0x0fU) * 2ULL};
    if (tag <= 0x9f) return Head{1, tag & 0x0fU};
    if (tag <= 0xbf) return Head{1 + (tag & 0x1fU), 0};
    switch (tag) {
        case 0xc0:
        case 0xc2:
        case 0xc3:
            return Head{1, 0};
        case 0xc4:
        case 0xd9:
            return sized(bytes, 1, 0);
        case 0xc5:
        case 0xda:
            return sized(bytes, 2, 0);
        case 0xc6:
        case 0xdb:
            return sized(bytes, 4, 0);
        case 0xc7:
            return sized(bytes, 1, 1);
        case 0xc8:
            return sized(bytes, 2, 1);
        case 0xc9:
            return sized(bytes, 4, 1);
        case 0xcc:
        case 0xd0:
            return Head{2, 0};
        case 0xcd:
        case 0xd1:
            return Head{3, 0};
        case 0xca:
        case 0xce:
        case 0xd2:
            return Head{5, 0};
        case 0xcb:
        case 0xcf:
        case 0xd3:
            return Head{9, 0};
        case 0xd4:
            return Head{3, 0};
        case 0xd5:
            return Head{4, 0};
        case 0xd6:
            return Head{6, 0};
        case 0xd7:
            return Head{10, 0};
        case 0xd8:
            return Head{18, 0};
        case 0xdc:
            return container(bytes, 2, 1);
        case 0xdd:
            return container(bytes, 4, 1);
        case 0xde:
            return container(bytes, 2, 2);
        case 0xdf:
            return container(bytes, 4, 2);
        default:
            return std::nullopt;
    }
}

}  // namespace

std::size_t packed_size(base::ByteView bytes) {
    std::size_t at = 0;
    for (std::uint64_t left = 1; left > 0; --left) {
        const std::optional<Head> head = head_of(bytes.subspan(at));
        if (!head || head->bytes > bytes.size() - at) return 0;
        at += head->bytes;
        if (head->children > bytes.size() - at) return 0;  // Every child takes a byte at least.
        left += head->children;
    }
    return at;
}

std::optional<base::Blob> splice(
    base::ByteView arguments,
    const std::vector<std::pair<std::uint32_t, base::ByteView>>& values) {
    const std::optional<Head> head = head_of(arguments);
    if (!head || head->bytes > arguments.size()) return std::nullopt;
    struct Piece {
        base::ByteView bytes;
    };
    std::vector<Piece> pieces;
    std::size_t kept_from = 0;
    std::size_t at = head->bytes;
    std::size_t total = 0;
    auto value = values.begin();
    const auto add = [&](base::ByteView bytes) {
        total += bytes.size();
        pieces.push_back(Piece{bytes});
    };
    for (std::uint32_t position = 0; value != values.end(); ++position) {
        const std::size_t size = packed_size(arguments.subspan(at));
        if (size == 0) return std::nullopt;
        if (position == value->first) {
            add(arguments.subspan(kept_from, at - kept_from));
            add(value->second);
            kept_from = at + size;
            ++value;
        }
        at += size;
    }
    add(arguments.subspan(kept_from));
    base::Blob out = base::Blob::allocate(total);
    std::byte* to = out.mutable_data();
    for (const Piece& piece : pieces) {
        if (!piece.bytes.empty()) std::memcpy(to, piece.bytes.data(), piece.bytes.size());
        to += piece.bytes.size();
    }
    return out;
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
