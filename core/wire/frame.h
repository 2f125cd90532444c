// SPDX-License-Identifier: Apache-2.0
// Frame: the prefix and the three fixed-width numbers that every control frame begins with.
// Internal to core/wire; codec.h and batch.h make whole messages with it.
#pragma once

#include "core/base/bytes.h"
#include "core/wire/messages.h"
#include "core/wire/writer.h"

namespace forkmill::wire {

/// Writes kHeaderSize bytes; kind, numbers and the array's length follow with end_frame().
void begin_frame(Writer& out);
/// Patches the header for `fields` fields after it and takes the bytes out; `out` is empty then.
base::Blob end_frame(Writer& out, const Header& header, std::uint32_t fields);

}  // namespace forkmill::wire
