// SPDX-License-Identifier: Apache-2.0
#include "cli/json_codec.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "cli/signature.h"
#include "forkmill/detail/packing.h"
#include "forkmill/errors.h"

namespace forkmill::cli {

namespace {

using Json = nlohmann::json;
using Kind = Type::Kind;
using forkmill::detail::Buffer;
using forkmill::detail::Bytes;
using forkmill::detail::Packer;
using forkmill::detail::Unpacker;

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64_of(std::string_view bytes) {
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t group = 0;
        for (std::size_t j = 0; j < 3; ++j)
            group =
                group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
        for (std::size_t j = 0; j < 4; ++j)
            text += i + j <= bytes.size() ? kDigits[group >> (18 - 6 * j) & 63] : '=';
    }
    return text;
}

std::optional<std::string> from_base64(std::string_view text) {
    if (text.size() % 4 != 0) return std::nullopt;
    const std::size_t end = text.find_last_not_of('=') + 1;
    if (text.size() - end > 2) return std::nullopt;
    std::string bytes;
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < end; ++i) {
        const std::size_t digit = kDigits.find(text[i]);
        if (digit == std::string_view::npos) return std::nullopt;
        group = group << 6 | static_cast<std::uint32_t>(digit);
        // Digits 2, 3 and 4 of a group complete a byte each.
        if (i % 4 == 0) continue;
        bytes += static_cast<char>(group >> (6 - 2 * (i % 4)) & 0xff);
    }
    return bytes;
}

bool is_utf8(std::string_view bytes) {
    try {
        (void)Json(bytes).dump();
        return true;
    } catch (const Json::exception&) {
        return false;
    }
}

[[noreturn]] void misfit(const Type& type, const Json& value) {
    std::string got = value.dump();
    if (got.size() > 60) got = got.substr(0, 60) + "...";
    throw JsonError{"expected " + type.text + ", got " + got};
}

bool is_block(const Type& list) {
    const Type& each = list.parts[0];
    // [u8] is never a block: bytes in one piece are `bin`.
    return each.kind == Kind::Signed || each.kind == Kind::Float ||
           (each.kind == Kind::Unsigned && each.bits > 8);
}

std::int64_t signed_of(const Type& type, unsigned bits, const Json& value) {
    if (!value.is_number_integer()) misfit(type, value);
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) misfit(type, value);
    const auto number = value.get<std::int64_t>();
    const std::int64_t max = bits == 64 ? INT64_MAX : (std::int64_t{1} << (bits - 1)) - 1;
    if (number > max || number < -max - 1) misfit(type, value);
    return number;
}

std::uint64_t unsigned_of(const Type& type, const Json& value) {
    if (!value.is_number_unsigned()) misfit(type, value);
    const auto number = value.get<std::uint64_t>();
    if (type.bits < 64 && number >> type.bits != 0) misfit(type, value);
    return number;
}

double float_of(const Type& type, const Json& value) {
    if (!value.is_number()) misfit(type, value);
    const auto number = value.get<double>();
    if (type.bits == 32 && std::abs(number) > std::numeric_limits<float>::max())
        misfit(type, value);
    return number;
}

template <class T>
void append(Buffer& block, T value) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    block.insert(block.end(), bytes, bytes + sizeof value);
}

void append_number(Buffer& block, const Type& type, const Json& value) {
    if (type.kind == Kind::Float) {
        const double number = float_of(type, value);
        if (type.bits == 64) return append(block, number);
        return append(block, static_cast<float>(number));
    }
    const std::uint64_t bits = type.kind == Kind::Unsigned
                                   ? unsigned_of(type, value)
                                   : static_cast<std::uint64_t>(signed_of(type, type.bits, value));
    // Little-endian: the low bytes come first.
    const auto* bytes = reinterpret_cast<const std::byte*>(&bits);
    block.insert(block.end(), bytes, bytes + type.bits / 8);
}

void pack(Packer& packer, const Type& type, const Json& value);

void pack_binary(Packer& packer, const Type& type, const Json& value) {
    std::string bytes;
    if (value.is_string()) {
        bytes = value.get<std::string>();
    } else if (value.is_object() && value.size() == 1 && value.contains("base64") &&
               value["base64"].is_string()) {
        const auto decoded = from_base64(value["base64"].get<std::string>());
        if (!decoded) misfit(type, value);
        bytes = *decoded;
    } else {
        misfit(type, value);
    }
    packer.binary(bytes.data(), bytes.size());
}

void pack_list(Packer& packer, const Type& type, const Json& value) {
    if (!value.is_array()) misfit(type, value);
    if (is_block(type)) {
        Buffer block;
        for (const Json& each : value) append_number(block, type.parts[0], each);
        return packer.binary(block.data(), block.size());
    }
    packer.array(value.size());
    for (const Json& each : value) pack(packer, type.parts[0], each);
}

void pack_map(Packer& packer, const Type& type, const Json& value) {
    packer.map(value.size());
    if (value.is_object() && type.parts[0].kind == Kind::Text) {
        for (const auto& [key, mapped] : value.items()) {
            packer.text(key);
            pack(packer, type.parts[1], mapped);
        }
        return;
    }
    if (!value.is_array()) misfit(type, value);
    for (const Json& pair : value) {
        if (!pair.is_array() || pair.size() != 2) misfit(type, value);
        pack(packer, type.parts[0], pair[0]);
        pack(packer, type.parts[1], pair[1]);
    }
}

void pack_parts(Packer& packer, const Type& type, const Json& value) {
    if (value.size() != type.parts.size()) misfit(type, value);
    packer.array(type.parts.size());
    const bool by_name = type.kind == Kind::Struct && value.is_object();
    if (!by_name && !value.is_array()) misfit(type, value);
    for (std::size_t i = 0; i < type.parts.size(); ++i) {
        if (by_name && !value.contains(type.names[i])) misfit(type, value);
        pack(packer, type.parts[i], by_name ? value[type.names[i]] : value[i]);
    }
}

void pack_variant(Packer& packer, const Type& type, const Json& value) {
    for (std::size_t i = 0; i < type.parts.size(); ++i) {
        const std::size_t before = packer.buffer().size();
        try {
            packer.array(2);
            packer.unsigned_integer(i);
            return pack(packer, type.parts[i], value);
        } catch (const JsonError&) {
            packer.buffer().resize(before);
        }
    }
    misfit(type, value);
}

void pack(Packer& packer, const Type& type, const Json& value) {
    switch (type.kind) {
        case Kind::Void:
        case Kind::Nil:
            if (!value.is_null()) misfit(type, value);
            return packer.nil();
        case Kind::Bool:
            if (!value.is_boolean()) misfit(type, value);
            return packer.boolean(value.get<bool>());
        case Kind::Signed:
            return packer.signed_integer(signed_of(type, type.bits, value));
        case Kind::Nanoseconds:
            return packer.signed_integer(signed_of(type, 64, value));
        case Kind::Unsigned:
            return packer.unsigned_integer(unsigned_of(type, value));
        case Kind::Float:
            if (type.bits == 64) return packer.real(float_of(type, value));
            return packer.single(static_cast<float>(float_of(type, value)));
        case Kind::Text:
            if (!value.is_string()) misfit(type, value);
            return packer.text(value.get_ref<const std::string&>());
        case Kind::Binary:
            return pack_binary(packer, type, value);
        case Kind::List:
            return pack_list(packer, type, value);
        case Kind::Map:
            return pack_map(packer, type, value);
        case Kind::Tuple:
        case Kind::Struct:
            return pack_parts(packer, type, value);
        case Kind::Optional:
            if (value.is_null()) return packer.nil();
            packer.array(1);
            return pack(packer, type.parts[0], value);
        case Kind::Variant:
            return pack_variant(packer, type, value);
    }
}

Json unpack(Unpacker& unpacker, const Type& type);

Json binary_json(Bytes bytes) {
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    if (is_utf8(text)) return text;
    return Json{{"base64", base64_of(text)}};
}

template <class T>
Json number_at(Bytes bytes) {
    T value{};
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

Json number_json(const Type& type, Bytes bytes) {
    const bool plus = type.kind == Kind::Unsigned;
    if (type.kind == Kind::Float)
        return type.bits == 32 ? number_at<float>(bytes) : number_at<double>(bytes);
    switch (type.bits) {
        case 8:
            return plus ? number_at<std::uint8_t>(bytes) : number_at<std::int8_t>(bytes);
        case 16:
            return plus ? number_at<std::uint16_t>(bytes) : number_at<std::int16_t>(bytes);
        case 32:
            return plus ? number_at<std::uint32_t>(bytes) : number_at<std::int32_t>(bytes);
        default:
            return plus ? number_at<std::uint64_t>(bytes) : number_at<std::int64_t>(bytes);
    }
}

Json unpack_list(Unpacker& unpacker, const Type& type) {
    Json list = Json::array();
    // Sets and deques of numbers have the same signature as blocks and travel one by one.
    if (is_block(type) && unpacker.describe_next() != "an array") {
        const Bytes block = unpacker.binary();
        const std::size_t width = type.parts[0].bits / 8;
        if (block.size() % width != 0) throw PackError{"expected whole elements of " + type.text};
        for (std::size_t at = 0; at < block.size(); at += width)
            list.push_back(number_json(type.parts[0], block.subspan(at, width)));
        return list;
    }
    for (std::size_t left = unpacker.array(); left > 0; --left)
        list.push_back(unpack(unpacker, type.parts[0]));
    return list;
}

Json unpack_map(Unpacker& unpacker, const Type& type) {
    const bool by_name = type.parts[0].kind == Kind::Text;
    Json map = by_name ? Json::object() : Json::array();
    for (std::size_t left = unpacker.map(); left > 0; --left) {
        Json key = unpack(unpacker, type.parts[0]);
        Json value = unpack(unpacker, type.parts[1]);
        if (by_name) {
            map[key.get<std::string>()] = std::move(value);
        } else {
            map.push_back(Json::array({std::move(key), std::move(value)}));
        }
    }
    return map;
}

Json unpack_parts(Unpacker& unpacker, const Type& type) {
    if (unpacker.array() != type.parts.size()) throw PackError{"expected " + type.text};
    Json made = type.kind == Kind::Struct ? Json::object() : Json::array();
    for (std::size_t i = 0; i < type.parts.size(); ++i) {
        Json part = unpack(unpacker, type.parts[i]);
        if (type.kind == Kind::Struct) {
            made[type.names[i]] = std::move(part);
        } else {
            made.push_back(std::move(part));
        }
    }
    return made;
}

std::int64_t highest(unsigned bits) {
    return bits == 64 ? INT64_MAX : (std::int64_t{1} << (bits - 1)) - 1;
}

Json unpack(Unpacker& unpacker, const Type& type) {
    switch (type.kind) {
        case Kind::Void:
            return nullptr;
        case Kind::Nil:
            unpacker.nil();
            return nullptr;
        case Kind::Bool:
            return unpacker.boolean();
        case Kind::Signed:
            return unpacker.signed_integer(-highest(type.bits) - 1, highest(type.bits));
        case Kind::Nanoseconds:
            return unpacker.signed_integer(INT64_MIN, INT64_MAX);
        case Kind::Unsigned:
            return unpacker.unsigned_integer(type.bits == 64 ? UINT64_MAX
                                                             : (std::uint64_t{1} << type.bits) - 1);
        case Kind::Float:
            return unpacker.real();
        case Kind::Text:
            return unpacker.text();
        case Kind::Binary:
            return binary_json(unpacker.binary());
        case Kind::List:
            return unpack_list(unpacker, type);
        case Kind::Map:
            return unpack_map(unpacker, type);
        case Kind::Tuple:
        case Kind::Struct:
            return unpack_parts(unpacker, type);
        case Kind::Optional:
            if (unpacker.at_nil()) {
                unpacker.nil();
                return nullptr;
            }
            if (unpacker.array() != 1) throw PackError{"expected nil or an array of one"};
            return unpack(unpacker, type.parts[0]);
        case Kind::Variant: {
            if (unpacker.array() != 2) throw PackError{"expected " + type.text};
            return unpack(unpacker, type.parts[unpacker.unsigned_integer(type.parts.size() - 1)]);
        }
    }
    return nullptr;
}

std::string text_of(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::vector<std::byte> pack_arguments(std::string_view signature,
                                      const std::vector<std::string>& arguments) {
    const Signature known = parse_signature(signature);
    if (arguments.size() != known.arguments.size())
        throw JsonError{"the task is " + std::string{signature} + ": it takes " +
                        std::to_string(known.arguments.size()) + " arguments, not " +
                        std::to_string(arguments.size())};
    Buffer packed;
    Packer packer{packed};
    packer.array(arguments.size());
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string where = "argument " + std::to_string(i + 1) + ": ";
        const Json value = Json::parse(arguments[i], nullptr, false);
        if (value.is_discarded()) throw JsonError{where + "no JSON: " + arguments[i]};
        try {
            pack(packer, known.arguments[i], value);
        } catch (const JsonError& error) {
            throw JsonError{where + error.what()};
        }
    }
    return packed;
}

std::string unpack_result(std::string_view signature, std::span<const std::byte> packed) {
    const Signature known = parse_signature(signature);
    if (known.result.kind == Kind::Void) return "null";
    try {
        Unpacker unpacker{packed};
        const Json value = unpack(unpacker, known.result);
        unpacker.end();
        return text_of(value);
    } catch (const PackError& error) {
        throw JsonError{"the result is no " + known.result.text + ": " + error.what()};
    }
}

std::string unpack_anything(std::span<const std::byte> packed) {
    if (packed.empty()) return "null";
    const auto* first = reinterpret_cast<const std::uint8_t*>(packed.data());
    const Json value = Json::from_msgpack(first, first + packed.size(), true, false);
    if (value.is_discarded()) throw JsonError{"the result is no msgpack value"};
    if (!value.is_binary()) return text_of(value);
    const Json::binary_t& bytes = value.get_binary();
    return text_of(binary_json(std::as_bytes(std::span{bytes.data(), bytes.size()})));
}

}  // namespace forkmill::cli
