// SPDX-License-Identifier: Apache-2.0
#include "broker/engine/templates.h"

#include <algorithm>

namespace forkmill::engine {

namespace {

void append(std::string& text, std::string_view part) {
    text += std::to_string(part.size());
    text += ':';
    text += part;
}

void append(std::string& text, std::uint64_t number) {
    text += std::to_string(number);
    text += ' ';
}

// Everything that makes two definitions differ, unambiguously.
std::string text_of(const wire::TemplateDef& def) {
    std::string text;
    append(text, def.name);
    append(text, def.signature);
    append(text, def.queue);
    append(text, static_cast<std::uint32_t>(def.priority));
    append(text, def.soft_timeout_ns);
    append(text, def.timeout_ns);
    append(text, def.delay_ns);
    append(text, def.max_retries);
    append(text, def.crash_limit);
    text += def.at_most_once ? '1' : '0';
    text += def.detached ? '1' : '0';
    return text;
}

}  // namespace

std::string_view offer_name(std::string_view task_name) {
    if (task_name.empty() || task_name.front() != '@') return task_name;
    return task_name.substr(0, task_name.find('+'));
}

std::uint32_t Templates::intern(const wire::TemplateDef& def) {
    std::string text = text_of(def);
    if (auto found = by_text_.find(text); found != by_text_.end()) return found->second;
    if (by_text_.size() >= kTemplatesLive) drop_unused();
    if (by_text_.size() >= kTemplatesLive || all_.size() >= kFull) return kFull;
    const auto id = static_cast<std::uint32_t>(all_.size());
    auto made = std::make_unique<Template>();
    made->def = def;
    made->def.id = id;
    made->offer = offer_name(def.name);
    made->is_bare = !def.name.empty() && def.name.front() == '@';
    all_.push_back(std::move(made));
    by_text_.emplace(std::move(text), id);
    return id;
}

void Templates::drop_unused() {
    for (auto it = by_text_.begin(); it != by_text_.end();) {
        if (all_[it->second]->lanes == 0) {
            all_[it->second].reset();
            it = by_text_.erase(it);
        } else {
            ++it;
        }
    }
}

// Slower than believed counts double: too much work queued at one worker hurts more than too
// little.
void Templates::measured(std::uint32_t id, std::int64_t run_ns) {
    if (run_ns <= 0) return;
    std::int64_t& estimate = all_[id]->estimate_ns;
    if (estimate == 0) {
        estimate = run_ns;
    } else {
        estimate += (run_ns - estimate) / (run_ns > estimate ? 4 : 8);
        estimate = std::max<std::int64_t>(estimate, 1);
    }
}

}  // namespace forkmill::engine
