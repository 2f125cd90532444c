// SPDX-License-Identifier: Apache-2.0
// What a template number of this process stands for (detail::intern_template makes the numbers).
//
// Invariant: a definition never moves or changes once its number was given out. Threading: any.
#pragma once

#include <cstdint>

#include "core/wire/messages.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

/// Name, signature and options behind a number of intern_template(). REQUIRES: intern_template gave
/// it out; numbers are dense from 0 and below 65,536.
const wire::TemplateDef& template_definition(std::uint32_t number);

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
