// SPDX-License-Identifier: Apache-2.0
#include "core/net/curve.h"

#include <zmq.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <utility>

#include "core/base/check.h"

namespace forkmill::net {

namespace {

constexpr std::size_t kNameMax = 128;

}  // namespace

CurvePair make_curve_pair() {
    std::array<char, kKeyText + 1> open{};
    std::array<char, kKeyText + 1> secret{};
    // It fails only in a libzmq built without CURVE, which the build requires.
    FORKMILL_CHECK(::zmq_curve_keypair(open.data(), secret.data()) == 0);
    return CurvePair{open.data(), secret.data()};
}

bool is_curve_key(std::string_view text) {
    if (text.size() != kKeyText) return false;
    // libzmq's decoder reads characters outside Z85 as garbage, so the alphabet is checked here.
    constexpr std::string_view kAlphabet =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    if (text.find_first_not_of(kAlphabet) != std::string_view::npos) return false;
    std::array<std::uint8_t, 32> raw{};
    return ::zmq_z85_decode(raw.data(), std::string{text}.c_str()) != nullptr;
}

base::Result<std::string> public_of(std::string_view secret_key) {
    if (!is_curve_key(secret_key))
        return base::Failure{"expected a CURVE key: 40 characters of Z85"};
    std::array<char, kKeyText + 1> open{};
    if (::zmq_curve_public(open.data(), std::string{secret_key}.c_str()) != 0)
        return base::Failure{"the secret key has no public half"};
    return std::string{open.data()};
}

base::Status AllowList::replace(const std::vector<AllowedKey>& keys) {
    if (keys.size() > kKeysMax)
        return base::Failure{"more than " + std::to_string(kKeysMax) + " keys"};
    std::map<std::string, AllowedKey, std::less<>> next;
    std::set<std::string_view> names;
    for (const AllowedKey& key : keys) {
        if (key.name.empty() || key.name.size() > kNameMax ||
            key.name.find('\0') != std::string::npos)
            return base::Failure{"a key's name has 1 to " + std::to_string(kNameMax) + " bytes"};
        if (!is_curve_key(key.public_key))
            return base::Failure{"the key of '" + key.name +
                                 "' is malformed; expected 40 characters of Z85"};
        if (!names.insert(key.name).second)
            return base::Failure{"the name '" + key.name + "' stands for two keys"};
        if (!next.emplace(key.public_key, key).second)
            return base::Failure{"the key of '" + key.name + "' is listed twice"};
    }
    const std::lock_guard lock{mutex_};
    by_key_ = std::move(next);
    return base::Done{};
}

std::optional<AllowedKey> AllowList::find(std::string_view public_key) const {
    const std::lock_guard lock{mutex_};
    const auto it = by_key_.find(public_key);
    if (it == by_key_.end()) return std::nullopt;
    return it->second;
}

std::optional<AllowedKey> AllowList::find_name(std::string_view name) const {
    const std::lock_guard lock{mutex_};
    const auto it = std::find_if(by_key_.begin(), by_key_.end(), [name](const auto& entry) {
        return entry.second.name == name;
    });
    if (it == by_key_.end()) return std::nullopt;
    return it->second;
}

std::size_t AllowList::size() const {
    const std::lock_guard lock{mutex_};
    return by_key_.size();
}

}  // namespace forkmill::net
