// SPDX-License-Identifier: Apache-2.0
// Any bytes as a frame: the decoders answer with a Code and nothing else.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/decode_any.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace forkmill;
    const base::ByteView input{reinterpret_cast<const std::byte*>(data), size};
    fuzz::decode_any(fuzz::message_of(input));
    fuzz::unpack_any(input);
    return 0;
}
