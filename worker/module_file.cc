// SPDX-License-Identifier: Apache-2.0
#include "worker/module_file.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <vector>

#include "forkmill/module.h"

namespace forkmill::worker {

namespace {

constexpr std::size_t kSegmentsMax = 128;
constexpr std::size_t kNotesMax = 64 * 1024;

#if defined(__x86_64__)
constexpr std::uint16_t kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr std::uint16_t kMachine = EM_AARCH64;
#elif defined(__riscv)
constexpr std::uint16_t kMachine = EM_RISCV;
#else
#error "name this machine's ELF number"
#endif

class File {
  public:
    explicit File(const std::string& path)
        : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    bool is_open() const { return fd_ >= 0; }
    bool is_regular() const {
        struct stat info {};
        return ::fstat(fd_, &info) == 0 && S_ISREG(info.st_mode);
    }
    bool read_at(std::uint64_t offset, void* into, std::size_t size) const {
        if (offset > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) return false;
        return ::pread(fd_, into, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
    }

  private:
    int fd_;
};

base::Failure refuse(const std::string& path, const std::string& why) {
    return base::Failure{"task module " + path + ": " + why};
}

/// The Forkmill note among the notes in `data`; false when there is none.
bool find_note(const std::vector<char>& data, std::uint32_t& type, std::string& text) {
    std::size_t at = 0;
    const auto padded = [](std::size_t n) { return (n + 3) & ~std::size_t{3}; };
    while (data.size() - at >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        std::memcpy(&note, data.data() + at, sizeof note);
        at += sizeof note;
        const std::size_t name = padded(note.n_namesz);
        const std::size_t body = padded(note.n_descsz);
        if (name > data.size() - at || body > data.size() - at - name) return false;
        if (note.n_namesz == 9 && std::memcmp(data.data() + at, "Forkmill", 9) == 0) {
            type = note.n_type;
            const char* begin = data.data() + at + name;
            text.assign(begin, ::strnlen(begin, note.n_descsz));
            return true;
        }
        at += name + body;
    }
    return false;
}

base::Status judge_header(const std::string& path, const ElfW(Ehdr) & header) {
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return refuse(path, "is not a shared library");
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_machine != kMachine)
        return refuse(path, "was built for another machine");
    if (header.e_type != ET_DYN || header.e_phentsize != sizeof(ElfW(Phdr)) ||
        header.e_phnum > kSegmentsMax)
        return refuse(path, "is not a shared library");
    return base::Done{};
}

}  // namespace

base::Status check_module_file(const std::string& path) {
    const File file{path};
    if (!file.is_open()) return refuse(path, std::strerror(errno));
    if (!file.is_regular()) return refuse(path, "is not a regular file");
    ElfW(Ehdr) header;
    if (!file.read_at(0, &header, sizeof header)) return refuse(path, "is not a shared library");
    if (base::Status status = judge_header(path, header); !status) return status;
    for (std::size_t i = 0; i < header.e_phnum; ++i) {
        ElfW(Phdr) segment;
        if (!file.read_at(header.e_phoff + i * sizeof segment, &segment, sizeof segment))
            return refuse(path, "is cut short");
        if (segment.p_type != PT_NOTE) continue;
        std::vector<char> notes(std::min<std::uint64_t>(segment.p_filesz, kNotesMax));
        if (!file.read_at(segment.p_offset, notes.data(), notes.size()))
            return refuse(path, "is cut short");
        std::uint32_t type = 0;
        std::string text;
        if (!find_note(notes, type, text)) continue;
        if (type != detail::kModuleAbi || text != FORKMILL_MODULE_TAG)
            return refuse(path,
                          "was built for \"" + text.substr(0, 128) +
                              "\"; expected \"" FORKMILL_MODULE_TAG "\"; build it again");
        return base::Done{};
    }
    return refuse(path, "has no FORKMILL_MODULE; expected one in its sources");
}

}  // namespace forkmill::worker
