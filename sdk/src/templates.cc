// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/templates.h"

#include <deque>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>

#include "forkmill/detail/submit.h"
#include "forkmill/errors.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

constexpr std::size_t kTemplatesOfProcess = 65'536;

/// Leaked on purpose: pools may be used while static objects are being destroyed.
struct Registry {
    std::shared_mutex mutex;
    std::deque<wire::TemplateDef> definitions;
    std::unordered_map<std::string, std::uint32_t> numbers;
};
Registry& registry() {
    static auto* const one = new Registry;
    return *one;
}

std::uint64_t nanoseconds(Duration duration, const char* what) {
    if (duration < Duration::zero()) throw UsageError(std::string{what} + " is negative");
    return static_cast<std::uint64_t>(duration.count());
}

wire::TemplateDef definition_of(std::string_view name,
                                std::string_view signature,
                                const TaskOptions& options) {
    if (options.priority < -1000 || options.priority > 1000)
        throw UsageError("a priority is from -1000 to 1000; it is " +
                         std::to_string(options.priority));
    if (options.max_retries < 0 || options.max_retries > 1'000'000)
        throw UsageError("max_retries is from 0 to 1000000; it is " +
                         std::to_string(options.max_retries));
    if (options.crash_limit < 1 || options.crash_limit > 255)
        throw UsageError("crash_limit is from 1 to 255; it is " +
                         std::to_string(options.crash_limit));
    if (options.delay > std::chrono::hours{24 * 30}) throw UsageError("delay is at most 30 days");
    wire::TemplateDef def;
    def.name = name;
    def.signature = signature;
    def.queue = options.queue;
    def.priority = options.priority;
    def.soft_timeout_ns = nanoseconds(options.soft_timeout, "soft_timeout");
    def.timeout_ns = nanoseconds(options.timeout, "timeout");
    def.delay_ns = nanoseconds(options.delay, "delay");
    def.max_retries = static_cast<std::uint32_t>(options.max_retries);
    def.crash_limit = static_cast<std::uint32_t>(options.crash_limit);
    def.at_most_once = options.at_most_once;
    def.detached = options.detached;
    return def;
}

std::string key_of(const wire::TemplateDef& def) {
    std::string key = def.name + '\n' + def.signature + '\n' + def.queue;
    for (const std::uint64_t part :
         {static_cast<std::uint64_t>(static_cast<std::int64_t>(def.priority)),
          def.soft_timeout_ns,
          def.timeout_ns,
          def.delay_ns,
          std::uint64_t{def.max_retries},
          std::uint64_t{def.crash_limit},
          std::uint64_t{def.at_most_once},
          std::uint64_t{def.detached}}) {
        key += '\n' + std::to_string(part);
    }
    return key;
}

}  // namespace

std::uint32_t intern_template(std::string_view name,
                              std::string_view signature,
                              const TaskOptions& options) {
    wire::TemplateDef def = definition_of(name, signature, options);
    const std::string key = key_of(def);
    Registry& all = registry();
    {
        const std::shared_lock lock{all.mutex};
        const auto known = all.numbers.find(key);
        if (known != all.numbers.end()) return known->second;
    }
    const std::unique_lock lock{all.mutex};
    const auto [entry, fresh] =
        all.numbers.try_emplace(key, static_cast<std::uint32_t>(all.definitions.size()));
    if (!fresh) return entry->second;
    if (all.definitions.size() >= kTemplatesOfProcess) {
        all.numbers.erase(entry);
        throw UsageError(
            "too many different task options: a program may use 65536 combinations of task and "
            "options (deadlines and keys do not count)");
    }
    all.definitions.push_back(std::move(def));
    return entry->second;
}

const wire::TemplateDef& template_definition(std::uint32_t number) {
    Registry& all = registry();
    const std::shared_lock lock{all.mutex};
    return all.definitions[number];
}

struct Defaults::Impl {
    std::mutex mutex;
    std::unordered_map<std::string, std::uint32_t> numbers;
};

Defaults::Defaults(TaskOptions options)
    : options_(std::move(options)), impl_(std::make_unique<Impl>()) {}
Defaults::~Defaults() = default;

std::uint32_t Defaults::number_of(std::string_view name,
                                  const std::function<std::string()>& signature) {
    const std::lock_guard lock{impl_->mutex};
    const auto known = impl_->numbers.find(std::string{name});
    if (known != impl_->numbers.end()) return known->second;
    return impl_->numbers[std::string{name}] = intern_template(name, signature(), options_);
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
