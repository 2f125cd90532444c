// SPDX-License-Identifier: Apache-2.0
// Templates: every distinct (name, queue, options, signature) once per broker, with what was
// measured.
//
// Invariants: (1) a number is never given to another definition, so a worker may remember it for
// ever; (2) at most kTemplatesLive definitions are held: at the bound unused ones go, else the new
// one is refused. Threading: none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/wire/messages.h"

namespace forkmill::engine {

struct Template {
    wire::TemplateDef def;
    std::string offer;             ///< What a worker must offer: the name, or `@<build>`.
    bool is_bare = false;          ///< A bare function of a module.
    std::int64_t estimate_ns = 0;  ///< Measured run time, moving average; 0: unknown.
    std::uint32_t lanes = 0;       ///< Lanes that use it.
};

class Templates {
  public:
    static constexpr std::uint32_t kTemplatesLive = 65'536;
    static constexpr std::uint32_t kFull = UINT32_MAX;

    /// The number of `def` (its id does not count), new or known; kFull at the bound.
    std::uint32_t intern(const wire::TemplateDef& def);
    Template& operator[](std::uint32_t id) { return *all_[id]; }
    const Template& operator[](std::uint32_t id) const { return *all_[id]; }
    bool known(std::uint32_t id) const { return id < all_.size() && all_[id] != nullptr; }
    /// One more measured run of `id`.
    void measured(std::uint32_t id, std::int64_t run_ns);
    std::size_t live() const { return by_text_.size(); }
    std::uint32_t count() const { return static_cast<std::uint32_t>(all_.size()); }

  private:
    void drop_unused();

    std::vector<std::unique_ptr<Template>> all_;
    std::unordered_map<std::string, std::uint32_t> by_text_;
};

/// `@<build>` of `@<build>+<offset>`; other names as they are.
std::string_view offer_name(std::string_view task_name);

}  // namespace forkmill::engine
