// SPDX-License-Identifier: Apache-2.0
// The laws of the house (ARCHITECTURE.md, STYLE.md), each a function from a source to its
// violations.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "tests/style/source.h"

namespace forkmill::style {

using Violations = std::vector<std::string>;

struct Law {
    const char* name;
    Violations (*check)(const Source&);

    friend std::ostream& operator<<(std::ostream& out, const Law& law) { return out << law.name; }
};

// Law 1: who may include whom.
Violations check_directions(const Source& source);
// Law 2: third parties are caged, and so are fork, waitpid and kill (law 3: only the supervisor
// forks).
Violations check_cages(const Source& source);
Violations check_process_calls(const Source& source);
// Law 4: what thinks reads no clock, starts no thread, touches no file or socket.
Violations check_purity(const Source& source);
// Law 5: the broker never opens a task's body.
Violations check_bodies(const Source& source);
// Law 7: what decodes a peer's bytes asserts nothing about them.
Violations check_assertions(const Source& source);

Violations check_license(const Source& source);
Violations check_columns(const Source& source);
Violations check_sizes(const Source& source);
Violations check_functions(const Source& source);
Violations check_headers(const Source& source);
Violations check_words(const Source& source);
Violations check_comments(const Source& source);
Violations check_sleeps(const Source& source);

const std::vector<Law>& all_laws();

}  // namespace forkmill::style
