// SPDX-License-Identifier: Apache-2.0
// Whether two programs mean the same task. A signature is a text such as
// `{px:bin,w:i32}([f64],str)`.
#pragma once

#include <string_view>

namespace forkmill::wire {

/// Equal, or one has further members at the end of a struct: `{w:i32}` and `{w:i32,h:i32}`. Linear;
/// no allocation; any text is answered.
bool signatures_agree(std::string_view a, std::string_view b);

}  // namespace forkmill::wire
