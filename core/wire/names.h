// SPDX-License-Identifier: Apache-2.0
// Names and texts: what may be one, and how a stranger's text is shown. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace forkmill::wire {

/// 1 to kTaskNameMax of A-Z a-z 0-9 _ . - and not "." or ".."; or a bare function, see
/// is_function_name.
bool valid_task_name(std::string_view name);
/// `@<build-id>+<offset>`, and optionally `:<build-id>+<offset>` of the thunk that runs it;
/// lower-case hex.
bool is_function_name(std::string_view name);
/// What a worker may offer: a task name, or `@<build-id>` for every bare function of that module.
bool valid_offer_name(std::string_view name);
/// 1 to kQueueNameMax of A-Z a-z 0-9 _ . -
bool valid_queue_name(std::string_view name);
/// At most kKeyMax bytes, without control characters; empty means none.
bool valid_key(std::string_view key);
bool valid_utf8(std::string_view text);
/// UTF-8 without control characters (C0, DEL, C1): hosts, pools, build-ids.
bool clean_text(std::string_view text);

/// The longest prefix of at most `max` bytes that does not cut a UTF-8 character.
std::string_view cut_text(std::string_view text, std::size_t max);
/// One printable line: control characters and bytes that are no UTF-8 as \xNN, cut to `max` bytes
/// with "…".
std::string escape_for_log(std::string_view text, std::size_t max = 256);

}  // namespace forkmill::wire
