// SPDX-License-Identifier: Apache-2.0
// The name under which a bare function travels: build-id and offset of the module it is in, and of
// the code that knows its type.
#include <elf.h>
#include <link.h>

#include <cstring>
#include <string>

#include "forkmill/detail/seam.h"
#include "forkmill/errors.h"

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

struct Search {
    std::uintptr_t address = 0;
    bool found = false;
    std::uintptr_t base = 0;
    std::string build;
};

std::string build_id_in(const char* notes, std::size_t size) {
    for (std::size_t at = 0; at + sizeof(ElfW(Nhdr)) <= size;) {
        ElfW(Nhdr) note;
        std::memcpy(&note, notes + at, sizeof note);
        const std::size_t name = at + sizeof note;
        const std::size_t text = name + (note.n_namesz + 3U) / 4 * 4;
        const std::size_t next = text + (note.n_descsz + 3U) / 4 * 4;
        if (next > size) break;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            std::memcmp(notes + name, "GNU", 4) == 0) {
            std::string hex;
            for (std::size_t i = 0; i < note.n_descsz; ++i) {
                constexpr char kDigits[] = "0123456789abcdef";
                const auto byte = static_cast<unsigned char>(notes[text + i]);
                hex += kDigits[byte >> 4];
                hex += kDigits[byte & 15];
            }
            return hex;
        }
        at = next;
    }
    return {};
}

int look(dl_phdr_info* info, std::size_t, void* data) {
    auto& search = *static_cast<Search*>(data);
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        const ElfW(Phdr)& segment = info->dlpi_phdr[i];
        const std::uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
        if (segment.p_type == PT_LOAD && search.address >= begin &&
            search.address < begin + segment.p_memsz)
            search.found = true;
    }
    if (!search.found) return 0;
    search.base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum && search.build.empty(); ++i) {
        const ElfW(Phdr)& segment = info->dlpi_phdr[i];
        if (segment.p_type == PT_NOTE)
            search.build = build_id_in(
                reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr), segment.p_memsz);
    }
    return 1;
}

std::string place_of(const void* code) {
    Search search;
    search.address = reinterpret_cast<std::uintptr_t>(code);
    ::dl_iterate_phdr(look, &search);
    if (!search.found)
        throw UsageError("a function that is in no module of this program cannot be a task");
    if (search.build.empty())
        throw UsageError(
            "a plain function can be a task only in a program linked with a build id "
            "(-Wl,--build-id); name it as a forkmill::Task instead");
    char offset[20];
    std::snprintf(offset,
                  sizeof offset,
                  "%llx",
                  static_cast<unsigned long long>(search.address - search.base));
    return search.build + "+" + offset;
}

}  // namespace

std::string function_name(const void* function, const void* thunk) {
    return "@" + place_of(function) + ":" + place_of(thunk);
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
