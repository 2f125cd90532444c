// SPDX-License-Identifier: Apache-2.0
#include "worker/loaded_images.h"

#include <elf.h>
#include <link.h>

#include <charconv>
#include <cstring>

namespace forkmill::worker {

namespace {

std::string hex_of(const unsigned char* bytes, std::size_t size) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(size * 2);
    for (std::size_t i = 0; i < size; ++i) {
        text += kDigits[bytes[i] >> 4];
        text += kDigits[bytes[i] & 15];
    }
    return text;
}

/// The build-id among the notes at `data`, as hex; empty when there is none.
std::string build_id_of(const unsigned char* data, std::size_t size) {
    constexpr std::size_t kHeader = sizeof(ElfW(Nhdr));
    const auto padded = [](std::size_t n) { return (n + 3) & ~std::size_t{3}; };
    while (size >= kHeader) {
        ElfW(Nhdr) note;
        std::memcpy(&note, data, kHeader);
        const std::size_t name = padded(note.n_namesz);
        const std::size_t body = padded(note.n_descsz);
        if (name > size - kHeader || body > size - kHeader - name) return {};
        const unsigned char* text = data + kHeader;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            std::memcmp(text, "GNU", 4) == 0)
            return hex_of(text + name, note.n_descsz);
        data += kHeader + name + body;
        size -= kHeader + name + body;
    }
    return {};
}

bool parse_part(std::string_view text, std::string_view& build, std::uint64_t& offset) {
    const std::size_t plus = text.find('+');
    if (plus == 0 || plus == std::string_view::npos) return false;
    build = text.substr(0, plus);
    if (build.find_first_not_of("0123456789abcdef") != std::string_view::npos) return false;
    const std::string_view number = text.substr(plus + 1);
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), offset, 16);
    return error == std::errc{} && end == number.data() + number.size() && !number.empty();
}

}  // namespace

LoadedImages LoadedImages::of_this_process() {
    LoadedImages found;
    const auto visit = [](dl_phdr_info* info, std::size_t, void* argument) {
        auto& images = *static_cast<std::vector<Image>*>(argument);
        if (images.size() >= kImagesMax) return 1;
        Image image;
        image.base = info->dlpi_addr;
        image.program = info->dlpi_name == nullptr || *info->dlpi_name == '\0';
        for (std::size_t i = 0; i < info->dlpi_phnum; ++i) {
            const ElfW(Phdr)& segment = info->dlpi_phdr[i];
            const std::uint64_t begin = info->dlpi_addr + segment.p_vaddr;
            if (segment.p_type == PT_NOTE && image.build.empty())
                image.build =
                    build_id_of(reinterpret_cast<const unsigned char*>(begin), segment.p_memsz);
            if (segment.p_type == PT_LOAD && (segment.p_flags & PF_X) != 0)
                image.code.push_back({begin, begin + segment.p_memsz});
        }
        if (!image.build.empty()) images.push_back(std::move(image));
        return 0;
    };
    ::dl_iterate_phdr(visit, &found.images_);
    return found;
}

const void* LoadedImages::resolve(std::string_view build, std::uint64_t offset) const {
    for (const Image& image : images_) {
        if (image.build != build) continue;
        const std::uint64_t address = image.base + offset;
        for (const CodeRange& range : image.code) {
            if (address >= range.begin && address < range.end)
                return reinterpret_cast<const void*>(address);
        }
    }
    return nullptr;
}

bool LoadedImages::has(std::string_view build) const {
    for (const Image& image : images_) {
        if (image.build == build) return true;
    }
    return false;
}

std::vector<std::string> LoadedImages::builds() const {
    std::vector<std::string> builds;
    builds.reserve(images_.size());
    for (const Image& image : images_) builds.push_back(image.build);
    return builds;
}

std::string LoadedImages::program_build() const {
    for (const Image& image : images_) {
        if (image.program) return image.build;
    }
    return {};
}

const void* LoadedImages::program_base() const {
    for (const Image& image : images_) {
        if (image.program) return reinterpret_cast<const void*>(image.base);
    }
    return nullptr;
}

bool parse_function_name(std::string_view name, FunctionName& out) {
    if (!name.starts_with('@')) return false;
    name.remove_prefix(1);
    const std::size_t colon = name.find(':');
    if (colon == std::string_view::npos) return false;
    return parse_part(name.substr(0, colon), out.build, out.offset) &&
           parse_part(name.substr(colon + 1), out.thunk_build, out.thunk_offset);
}

}  // namespace forkmill::worker
