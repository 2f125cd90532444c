// SPDX-License-Identifier: Apache-2.0
// Body: the packed arguments or result of one task on its way through a layer; nobody on the way
// opens it (law 5).
//
// Exactly one form holds: a small view (someone else owns the bytes for the duration of the call),
// one Blob (a payload frame), or the chunks of a large transfer in order. A Body is passed by const
// reference and stored only by those who copy or share what it shows.
#pragma once

#include <memory>
#include <vector>

#include "core/base/bytes.h"

namespace forkmill::base {

using Chunks = std::shared_ptr<const std::vector<Blob>>;

struct Body {
    ByteView view;  ///< The bytes, when contiguous (also set when `blob` is).
    Blob blob;      ///< Owner of `view`, when it may be shared instead of copied.
    Chunks chunks;  ///< A large body; `view` is empty then.

    static Body of(ByteView bytes) { return Body{bytes, {}, {}}; }
    static Body of(Blob owner) {
        const ByteView bytes = owner.view();
        return Body{bytes, std::move(owner), {}};
    }
    static Body of(Chunks parts) { return Body{{}, {}, std::move(parts)}; }

    std::uint64_t size() const {
        if (!chunks) return view.size();
        std::uint64_t sum = 0;
        for (const Blob& part : *chunks) sum += part.size();
        return sum;
    }
};

}  // namespace forkmill::base
