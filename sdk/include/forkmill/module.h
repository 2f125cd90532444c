// SPDX-License-Identifier: Apache-2.0
// FORKMILL_MODULE: tasks in a shared library that the stock forkmill-worker loads.
//
//     #include <forkmill/module.h>
//     FORKMILL_MODULE(tasks) {
//         tasks.bind(thumb::resize, do_resize);
//     }
//
// Once per library. The macro also writes an ELF note that says for which Forkmill the library was
// built: a worker reads it before any code of the library runs, and refuses one that does not fit
// with a sentence instead of a crash. Static constructors of the library run in workers only.
#pragma once

#include <cstdint>

#include "forkmill/detail/export.h"

namespace forkmill {
inline namespace v0 {

struct Tasks;

namespace detail {

/// Raised with every change of what module and worker must agree on beyond the library's own
/// version.
inline constexpr std::uint32_t kModuleAbi = 1;

#if defined(_GLIBCXX_USE_CXX11_ABI) && _GLIBCXX_USE_CXX11_ABI
#define FORKMILL_MODULE_STRINGS "cxx11"
#else
#define FORKMILL_MODULE_STRINGS "other"
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FORKMILL_MODULE_CHECKS "address"
#elif defined(__SANITIZE_THREAD__)
#define FORKMILL_MODULE_CHECKS "thread"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FORKMILL_MODULE_CHECKS "address"
#elif __has_feature(thread_sanitizer)
#define FORKMILL_MODULE_CHECKS "thread"
#endif
#endif
#ifndef FORKMILL_MODULE_CHECKS
#define FORKMILL_MODULE_CHECKS "none"
#endif

/// What module and worker compare, whole.
#define FORKMILL_MODULE_TAG \
    "forkmill v0 module 1; strings " FORKMILL_MODULE_STRINGS "; sanitizer " FORKMILL_MODULE_CHECKS

/// An ELF note: read from the file, never through loaded code.
struct ModuleNote {
    std::uint32_t name_size = 9;
    std::uint32_t text_size = sizeof(FORKMILL_MODULE_TAG);
    std::uint32_t type = kModuleAbi;
    char name[12] = "Forkmill";
    char text[(sizeof(FORKMILL_MODULE_TAG) + 3) / 4 * 4] = FORKMILL_MODULE_TAG;
};

/// The one symbol of a module that a worker looks up: `forkmill_module_v0`.
struct ModuleEntry {
    std::uint32_t size;
    std::uint32_t abi;
    const char* tag;
    void (*bind)(Tasks&);
};

}  // namespace detail
}  // namespace v0
}  // namespace forkmill

#define FORKMILL_MODULE(tasks)                                                                  \
    static void forkmill_module_bind(::forkmill::Tasks& tasks);                                 \
    [[gnu::section(".note.forkmill"),                                                           \
      gnu::used,                                                                                \
      gnu::aligned(4)]] static constexpr ::forkmill::detail::ModuleNote forkmill_module_note{}; \
    extern "C" FORKMILL_API const ::forkmill::detail::ModuleEntry forkmill_module_v0;           \
    extern "C" const ::forkmill::detail::ModuleEntry forkmill_module_v0 = {                     \
        sizeof(::forkmill::detail::ModuleEntry),                                                \
        ::forkmill::detail::kModuleAbi,                                                         \
        FORKMILL_MODULE_TAG,                                                                    \
        &forkmill_module_bind};                                                                 \
    static void forkmill_module_bind(::forkmill::Tasks& tasks)
