// SPDX-License-Identifier: Apache-2.0
// Registry: from the name and signature in a template to code that can be called, or to the reason
// why not.
//
// Invariants: (1) a name leads to one entry, and a second binding of it is refused with both
// origins; (2) an entry's address never changes once it was found; (3) nothing a template says can
// make it call what is not code of a loaded image. Threading: filled before task threads exist;
// find() belongs to the I/O thread.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/result.h"
#include "core/wire/messages.h"
#include "forkmill/detail/seam.h"
#include "worker/loaded_images.h"

namespace forkmill::worker {

/// Bare functions found so far, per process; beyond it none is resolved any more.
inline constexpr std::size_t kFunctionsMax = 65'536;

/// Why a template cannot run here: the code and text of the outcome of each of its tasks.
struct Refusal {
    wire::Code code = wire::Code::None;
    std::string text;
};

struct Found {
    const detail::TaskEntry* entry = nullptr;  ///< Null: see refusal.
    Refusal refusal;
};

class Registry {
  public:
    Registry() = default;
    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;

    /// Takes what `origin` (the program, or a module's path) binds. A failure names both origins of
    /// a name; nothing was added then.
    [[nodiscard]] base::Status add(const std::vector<detail::TaskEntry>& entries,
                                   std::string_view origin);
    /// Makes the code that is loaded now reachable as bare functions; call after the last module.
    void add_loaded_images() { images_ = LoadedImages::of_this_process(); }

    /// The entry of a template; a bare function gets one when it is first asked for.
    Found find(std::string_view name, std::string_view signature);
    /// What HELLO tells: every named task, then `@<build-id>` per loaded image.
    std::vector<wire::Offer> offers() const;
    /// Build-id of the program, hex.
    std::string build() const { return images_.program_build(); }
    std::size_t size() const { return by_name_.size(); }

  private:
    struct Bound {
        detail::TaskEntry entry;
        std::string origin;
    };
    Found find_function(std::string_view name, std::string_view signature);

    std::deque<Bound> bound_;
    std::unordered_map<std::string_view, const Bound*> by_name_;  ///< Keys point into bound_.
    std::deque<detail::TaskEntry> functions_;
    std::unordered_map<std::string, const detail::TaskEntry*> by_function_;
    LoadedImages images_;
};

}  // namespace forkmill::worker
