// SPDX-License-Identifier: Apache-2.0
// Log hook and task ids: the small non-template parts of the public headers.
#include <cstdio>
#include <memory>
#include <mutex>

#include "core/base/ids.h"
#include "forkmill/log.h"
#include "forkmill/options.h"
#include "sdk/src/client_log.h"

namespace forkmill {
inline namespace v0 {

namespace {

struct LogHook {
    std::mutex mutex;
    std::shared_ptr<std::function<void(Level, std::string_view)>> handler;
    std::mutex speaking;  ///< One at a time, and never with `mutex` held.
};
LogHook& hook() {
    static auto* const one = new LogHook;  // Leaked: threads may log while the program ends.
    return *one;
}

void log(Level level, std::string_view text) noexcept {
    try {
        std::shared_ptr<std::function<void(Level, std::string_view)>> handler;
        {
            const std::lock_guard lock{hook().mutex};
            handler = hook().handler;
        }
        if (handler) {
            const std::lock_guard lock{hook().speaking};
            (*handler)(level, text);
        } else if (level <= Level::warning) {
            std::fprintf(stderr, "forkmill: %.*s\n", static_cast<int>(text.size()), text.data());
        }
    } catch (...) {
        std::fprintf(stderr, "forkmill: the log handler threw\n");
    }
}

}  // namespace

void set_log_handler(std::function<void(Level, std::string_view)> handler) {
    const std::lock_guard lock{hook().mutex};
    hook().handler =
        handler ? std::make_shared<std::function<void(Level, std::string_view)>>(std::move(handler))
                : nullptr;
}

std::string to_string(const TaskId& id) {
    return base::to_string(base::TaskId{id.stream, id.seq});
}
std::optional<TaskId> parse_task_id(std::string_view text) {
    const auto id = base::parse_task_id(text);
    if (!id) return std::nullopt;
    return TaskId{id->stream, id->seq};
}

namespace detail {
void log_warning(std::string_view text) noexcept {
    log(Level::warning, text);
}
void log_info(std::string_view text) noexcept {
    log(Level::info, text);
}
}  // namespace detail

}  // namespace v0
}  // namespace forkmill
