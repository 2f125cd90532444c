// SPDX-License-Identifier: Apache-2.0
// The words of locks that this program's embedded pools share with all it forks.
//
// Threading: any; map_lock_words() before whatever is to share them is forked.
#pragma once

#include <span>

#include "core/base/lock_words.h"

namespace forkmill {
inline namespace v0 {
namespace local {

/// Locks of one program that have a word; those beyond are the broker's alone.
inline constexpr std::size_t kLockWords = 4096;
static_assert(kLockWords < 1U << base::kLockWordBits, "a place tells the number of a word");

/// Once per process; without memory for them its locks work, only slower.
void map_lock_words();
/// Those of this process; null before map_lock_words(), or without memory.
base::LockWords* lock_words();
std::span<base::LockWord> all_lock_words();
/// In what was forked: those of the program that forked it, until it maps its own.
std::span<base::LockWord> inherited_lock_words();

}  // namespace local
}  // namespace v0
}  // namespace forkmill
