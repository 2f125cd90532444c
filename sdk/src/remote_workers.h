// SPDX-License-Identifier: Apache-2.0
// workers_of_reply: the rows of a broker's answer to "workers".
//
// Reads just as much JSON as that answer is made of; anything else gives fewer rows, never an
// error. Threading: pure.
#pragma once

#include <string_view>
#include <vector>

#include "forkmill/pool.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

std::vector<WorkerInfo> workers_of_reply(std::string_view json);

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
