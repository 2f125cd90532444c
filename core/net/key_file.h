// SPDX-License-Identifier: Apache-2.0
// CURVE keys as they lie on disk: a program's own pair, and the list of those who may connect.
//
// A key file is two lines, `public KEY` and `secret KEY`; its neighbour `.pub` has the first alone,
// to be given away. An authorized_keys file has a line `KEY NAME ROLE[,ROLE]` per peer, the roles
// being submit, work and admin. In both `#` begins a comment. Failures say which file, which line
// and what to do; none repeats a secret. Threading: any.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/net/curve.h"

namespace forkmill::net {

/// Reads a pair. Refused: a file of another user, one that others may read, a symbolic link, a file
/// without a secret (a .pub) and halves that are no pair.
base::Result<CurvePair> read_key_file(const std::string& path);
/// Writes PATH (0600) and PATH.pub (0644). Refuses to overwrite.
base::Status write_key_file(const std::string& path, const CurvePair& pair);
/// Refused: a file that others may write to, doubled keys or names, unknown roles, an empty list.
base::Result<std::vector<AllowedKey>> read_authorized_keys(const std::string& path);

/// How a client names its keys; both or none.
struct KeyNames {
    std::string server_key;  ///< The broker's public key.
    std::string key_file;    ///< Our own pair.
};
/// What is empty is taken from FORKMILL_SERVER_KEY and FORKMILL_KEY_FILE.
KeyNames or_environment(KeyNames given);
/// None when neither is named.
base::Result<std::optional<CurveClient>> client_keys(const KeyNames& names);

}  // namespace forkmill::net
