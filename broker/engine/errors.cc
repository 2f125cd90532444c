// SPDX-License-Identifier: Apache-2.0
// Errors that the broker itself has to tell: loss, cancel, expiry, a failed argument.
#include "broker/engine/core.h"
#include "core/wire/codec.h"

namespace forkmill::engine {

base::Body Tables::error_for(const TaskNode& node, wire::ErrorInfo info) const {
    if (const Template* t = template_of(node); t != nullptr) info.task = t->def.name;
    info.attempt = node.attempt;
    const std::vector<std::byte> packed = wire::pack_error(info);
    return base::Body::of(base::Blob::copy(packed));
}

base::Body Tables::error_for(const TaskNode& node,
                             wire::Code code,
                             std::string_view what,
                             wire::Ran ran) const {
    wire::ErrorInfo info;
    info.code = code;
    info.what = what;
    info.ran = ran;
    return error_for(node, std::move(info));
}

}  // namespace forkmill::engine
