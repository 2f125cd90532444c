// SPDX-License-Identifier: Apache-2.0
// CURVE keys and who may connect with them.
//
// libzmq's CURVE lets every client key in unless a ZAP handler says otherwise *and* the domain is
// enforced, so keys are never set on a server without an AllowList (core/net/zap.h).
// Threading: AllowList is safe from any thread; the rest are values.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace forkmill::net {

inline constexpr std::size_t kKeyText = 40;  ///< Characters of a key in Z85.

struct CurvePair {
    std::string public_key;  ///< Z85.
    std::string secret_key;
};

/// A fresh pair from the system's randomness.
CurvePair make_curve_pair();
/// 40 characters of Z85.
bool is_curve_key(std::string_view text);
/// The public half of a secret; fails on what is no key.
base::Result<std::string> public_of(std::string_view secret_key);

struct CurveServer {
    std::string secret_key;
    std::string public_key;
};

struct CurveClient {
    std::string server_public;
    std::string public_key;
    std::string secret_key;
};

struct AllowedKey {
    std::string public_key;          ///< Z85.
    std::string name;                ///< The principal: what the broker calls this peer.
    std::vector<std::string> roles;  ///< Read by the broker, not here.
};

/// Who may connect. Replaced as a whole on reload; connected peers whose key went are cut by the
/// broker through ZmqRouter::disconnect_principal.
class AllowList {
  public:
    static constexpr std::size_t kKeysMax = 65'536;

    /// Fails, and changes nothing, on a malformed or doubled key or an empty or over-long name.
    base::Status replace(const std::vector<AllowedKey>& keys);
    /// The entry of a public key (Z85).
    std::optional<AllowedKey> find(std::string_view public_key) const;
    std::optional<AllowedKey> find_name(std::string_view name) const;
    std::size_t size() const;

  private:
    mutable std::mutex mutex_;
    std::map<std::string, AllowedKey, std::less<>> by_key_;
};

}  // namespace forkmill::net
