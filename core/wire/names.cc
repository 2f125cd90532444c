// SPDX-License-Identifier: Apache-2.0
#include "core/wire/names.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

#include "core/wire/limits.h"

namespace forkmill::wire {

namespace {

bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

bool is_plain_name(std::string_view name, std::size_t max) {
    // "." and ".." would be paths wherever a name becomes one.
    return !name.empty() && name.size() <= max && name != "." && name != ".." &&
           std::all_of(name.begin(), name.end(), is_name_char);
}

/// Takes a run of lower-case hex digits off the front.
bool take_hex(std::string_view& text) {
    std::size_t digits = 0;
    while (digits < text.size() && ((text[digits] >= '0' && text[digits] <= '9') ||
                                    (text[digits] >= 'a' && text[digits] <= 'f')))
        ++digits;
    text.remove_prefix(digits);
    return digits > 0;
}

bool take(std::string_view& text, char c) {
    if (text.empty() || text.front() != c) return false;
    text.remove_prefix(1);
    return true;
}

bool take_place(std::string_view& text) {
    return take_hex(text) && take(text, '+') && take_hex(text);
}

/// Length of the UTF-8 character at the front, 0 if there is none.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
    const auto follows = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
    const std::uint8_t head = byte(0);
    if (head < 0x80) return 1;
    if (head >= 0xc2 && head <= 0xdf) return follows(1) ? 2 : 0;
    if (head >= 0xe0 && head <= 0xef) {
        if (!follows(1) || !follows(2)) return 0;
        if (head == 0xe0 && byte(1) < 0xa0) return 0;  // Longer than needed.
        if (head == 0xed && byte(1) > 0x9f) return 0;  // A surrogate.
        return 3;
    }
    if (head >= 0xf0 && head <= 0xf4) {
        if (!follows(1) || !follows(2) || !follows(3)) return 0;
        if (head == 0xf0 && byte(1) < 0x90) return 0;
        if (head == 0xf4 && byte(1) > 0x8f) return 0;  // Beyond U+10FFFF.
        return 4;
    }
    return 0;
}

/// C0, DEL, and C1 (two bytes, 0xc2 0x80 to 0xc2 0x9f).
bool is_control(std::string_view character) {
    const auto head = static_cast<std::uint8_t>(character[0]);
    if (character.size() == 1) return head < 0x20 || head == 0x7f;
    return head == 0xc2 && static_cast<std::uint8_t>(character[1]) < 0xa0;
}

}  // namespace

bool is_function_name(std::string_view name) {
    if (name.size() > kTaskNameMax || !take(name, '@') || !take_place(name)) return false;
    return name.empty() || (take(name, ':') && take_place(name) && name.empty());
}

bool valid_task_name(std::string_view name) {
    return is_plain_name(name, kTaskNameMax) || is_function_name(name);
}

bool valid_offer_name(std::string_view name) {
    if (is_plain_name(name, kTaskNameMax)) return true;
    return name.size() <= kTaskNameMax && take(name, '@') && take_hex(name) && name.empty();
}

bool valid_queue_name(std::string_view name) {
    return is_plain_name(name, kQueueNameMax);
}

bool valid_key(std::string_view key) {
    return key.size() <= kKeyMax && clean_text(key);
}

bool valid_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (length == 0) return false;
        text.remove_prefix(length);
    }
    return true;
}

bool clean_text(std::string_view text) {
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (length == 0 || is_control(text.substr(0, length))) return false;
        text.remove_prefix(length);
    }
    return true;
}

std::string_view cut_text(std::string_view text, std::size_t max) {
    if (text.size() <= max) return text;
    std::size_t end = max;
    while (end > 0 && max - end < 3 && (static_cast<std::uint8_t>(text[end]) & 0xc0) == 0x80) --end;
    // Bytes that are no UTF-8 anyway are cut where the limit stands.
    const bool boundary = (static_cast<std::uint8_t>(text[end]) & 0xc0) != 0x80;
    return text.substr(0, boundary ? end : max);
}

std::string escape_for_log(std::string_view text, std::size_t max) {
    std::string line;
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        std::string_view piece = text.substr(0, std::max<std::size_t>(length, 1));
        std::array<char, 8> escaped{};
        if (length == 0 || piece == "\\" || is_control(piece)) {
            // One byte at a time: a C1 character shows as two escapes.
            piece = text.substr(0, 1);
            const int size =
                piece == "\\"
                    ? std::snprintf(escaped.data(), escaped.size(), "\\\\")
                    : std::snprintf(escaped.data(),
                                    escaped.size(),
                                    "\\x%02x",
                                    static_cast<unsigned>(static_cast<std::uint8_t>(piece[0])));
            text.remove_prefix(1);
            piece = {escaped.data(), static_cast<std::size_t>(size)};
        } else {
            text.remove_prefix(length);
        }
        if (line.size() + piece.size() > max) return line + "…";
        line += piece;
    }
    return line;
}

}  // namespace forkmill::wire
