// SPDX-License-Identifier: Apache-2.0
// Frames by hand, for tests that say what no encoder of ours would.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "core/wire/codec.h"

namespace forkmill::wire::test {

inline base::Blob blob_of(std::string_view bytes) {
    return base::Blob::copy(base::bytes_of(bytes));
}

/// "46 4d 01" and so on, white space ignored.
inline std::string from_hex(std::string_view hex) {
    std::string bytes;
    int high = -1;
    for (const char c : hex) {
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) continue;
        if (high < 0) {
            high = digit;
        } else {
            bytes.push_back(static_cast<char>(high * 16 + digit));
            high = -1;
        }
    }
    return bytes;
}

/// Prefix of `kind`, then `body`, the whole msgpack array included.
inline base::Message frame(Kind kind, std::string_view body, std::size_t payloads = 0) {
    std::string bytes = "FM";
    bytes.push_back(static_cast<char>(kMajor));
    bytes.push_back(static_cast<char>(kind));
    bytes.append(body);
    base::Message message{blob_of(bytes), {}};
    for (std::size_t i = 0; i < payloads; ++i)
        message.payloads.push_back(blob_of(std::string(kInlineBodyMax, 'p')));
    return message;
}

/// Number 1, ack 0, floor 0 and `fields` fields, whose bytes are given.
inline base::Message numbered(Kind kind,
                              std::uint8_t fields,
                              std::string_view bytes,
                              std::size_t payloads = 0) {
    std::string body;
    body.push_back(static_cast<char>(0x90 | (3 + fields)));
    body.append({1, 0, 0});
    body.append(bytes);
    return frame(kind, body, payloads);
}

template <class T>
Code decode_message(const base::Message& message, Header& header, T& out) {
    Cursor cursor;
    const Code code = decode_header(message, header, cursor);
    return code == Code::None ? decode(cursor, out) : code;
}

/// The reader's code, or the header's.
template <class Reader>
Code read_code(const base::Message& message) {
    Header header{};
    Cursor cursor;
    const Code code = decode_header(message, header, cursor);
    return code == Code::None ? Reader{cursor, message}.code() : code;
}

}  // namespace forkmill::wire::test
