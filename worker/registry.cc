// SPDX-License-Identifier: Apache-2.0
#include "worker/registry.h"

#include <utility>

#include "core/wire/limits.h"
#include "core/wire/names.h"
#include "core/wire/signatures.h"

namespace forkmill::worker {

base::Status Registry::add(const std::vector<detail::TaskEntry>& entries, std::string_view origin) {
    std::unordered_map<std::string_view, int> fresh;
    for (const detail::TaskEntry& entry : entries) {
        if (!wire::valid_task_name(entry.name))
            return base::Failure{"task name \"" + entry.name + "\" of " + std::string{origin} +
                                 " is not usable; expected 1 to " +
                                 std::to_string(wire::kTaskNameMax) +
                                 " of letters, digits, _ . and -"};
        if (entry.signature.size() > wire::kSignatureMax)
            return base::Failure{"the signature of task " + entry.name + " is longer than " +
                                 std::to_string(wire::kSignatureMax) + " bytes"};
        auto known = by_name_.find(entry.name);
        if (known != by_name_.end())
            return base::Failure{"task " + entry.name + " is bound twice: by " +
                                 known->second->origin + " and by " + std::string{origin}};
        if (++fresh[entry.name] > 1)
            return base::Failure{"task " + entry.name + " is bound twice, both times by " +
                                 std::string{origin}};
    }
    for (const detail::TaskEntry& entry : entries) {
        bound_.push_back({entry, std::string{origin}});
        by_name_.emplace(bound_.back().entry.name, &bound_.back());
    }
    return base::Done{};
}

Found Registry::find(std::string_view name, std::string_view signature) {
    if (name.starts_with('@')) return find_function(name, signature);
    auto known = by_name_.find(name);
    if (known == by_name_.end())
        return {nullptr,
                {wire::Code::NoSuchTask,
                 "this worker has no task named " + std::string{name} + " (it has " +
                     std::to_string(by_name_.size()) + ")"}};
    const detail::TaskEntry& entry = known->second->entry;
    if (!wire::signatures_agree(entry.signature, signature))
        return {nullptr,
                {wire::Code::SignatureMismatch,
                 "task " + entry.name + " is called as " + std::string{signature} +
                     " but the worker has it as " + entry.signature + " (" + known->second->origin +
                     ")"}};
    return {&entry, {}};
}

Found Registry::find_function(std::string_view name, std::string_view signature) {
    auto known = by_function_.find(std::string{name});
    if (known != by_function_.end()) return {known->second, {}};
    FunctionName parts;
    if (!parse_function_name(name, parts))
        return {nullptr, {wire::Code::InvalidName, "not the name of a bare function"}};
    if (!images_.has(parts.build) || !images_.has(parts.thunk_build))
        return {nullptr,
                {wire::Code::ForeignCode,
                 "the function belongs to build " +
                     std::string{images_.has(parts.build) ? parts.thunk_build : parts.build} +
                     ", which this worker does not run (its program is " + build() + ")"}};
    const void* function = images_.resolve(parts.build, parts.offset);
    const void* thunk = images_.resolve(parts.thunk_build, parts.thunk_offset);
    if (function == nullptr || thunk == nullptr)
        return {nullptr, {wire::Code::ForeignCode, "the name points to no code of its build"}};
    if (functions_.size() >= kFunctionsMax)
        return {nullptr,
                {wire::Code::NoSuchTask,
                 "this worker already knows " + std::to_string(kFunctionsMax) +
                     " bare functions, its limit"}};
    detail::TaskEntry& entry = functions_.emplace_back();
    entry.name = name;
    entry.signature = signature;
    entry.thunk = reinterpret_cast<detail::Thunk>(reinterpret_cast<std::uintptr_t>(thunk));
    entry.function = function;
    by_function_.emplace(entry.name, &entry);
    return {&entry, {}};
}

std::vector<wire::Offer> Registry::offers() const {
    std::vector<wire::Offer> offers;
    for (const Bound& bound : bound_) offers.push_back({bound.entry.name, bound.entry.signature});
    for (const std::string& build : images_.builds()) offers.push_back({"@" + build, ""});
    return offers;
}

}  // namespace forkmill::worker
