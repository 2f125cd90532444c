// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/module_store.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/supervisor/fd.h"
#include "core/supervisor/fd_text.h"

namespace forkmill::supervisor {

namespace {

base::Failure refuse(const std::string& path, const std::string& why) {
    return base::Failure{"task module " + path + ": " + why};
}

bool everybody_writes(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 && (info.st_mode & S_IWOTH) != 0;
}

base::Result<std::string> real_path(const std::string& path) {
    char buffer[PATH_MAX];
    if (::realpath(path.c_str(), buffer) == nullptr) return refuse(path, std::strerror(errno));
    return std::string{buffer};
}

/// FNV-1a in 64 bits: tells builds apart; nobody is kept out by it.
std::uint64_t hash_of(std::string_view bytes) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char byte : bytes) {
        hash ^= static_cast<unsigned char>(byte);
        hash *= 0x100000001b3;
    }
    return hash;
}

base::Status write_file(const std::string& path, std::string_view bytes) {
    const std::string fresh = path + ".new";
    ::unlink(fresh.c_str());  // Of a run that was ended in the middle; it cannot be opened again.
    const OwnedFd file{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0500)};
    if (!file || !write_all(file.get(), bytes) || ::rename(fresh.c_str(), path.c_str()) != 0)
        return refuse(path, std::strerror(errno));
    return base::Done{};
}

}  // namespace

base::Result<std::string> find_module_file(const std::string& name,
                                           const std::vector<std::string>& directories) {
    for (const auto& part : std::filesystem::path{name}) {
        if (part == "..") return refuse(name, "a path with .. is not taken; write it out");
    }
    std::string found;
    if (name.find('/') != std::string::npos) {
        base::Result<std::string> real = real_path(name);
        if (!real) return real;
        found = std::move(real).value();
    } else {
        std::string searched;
        const std::string file = name.ends_with(".so") ? name : name + ".so";
        for (const std::string& directory : directories) {
            searched += (searched.empty() ? "" : ", ") + directory;
            const std::string candidate = directory + "/" + file;
            if (::access(candidate.c_str(), F_OK) != 0) continue;
            base::Result<std::string> real = real_path(candidate);
            base::Result<std::string> root = real_path(directory);
            if (!real || !root) return real;
            if (!real.value().starts_with(root.value() + "/"))
                return refuse(candidate, "is a link that leaves its directory");
            found = std::move(real).value();
            break;
        }
        if (found.empty())
            return refuse(name, "is in none of " + (searched.empty() ? "(nothing)" : searched));
    }
    const std::string directory = std::filesystem::path{found}.parent_path();
    if (everybody_writes(found) || everybody_writes(directory))
        return refuse(found, "everybody may write it or its directory; expected mode o-w");
    return found;
}

std::string builtin_module_directory() {
    // libforkmill.so stands in <prefix>/lib…, whatever that directory is called; a program that has
    // it inside stands in <prefix>/bin.
    Dl_info self{};
    std::error_code error;
    if (::dladdr(reinterpret_cast<const void*>(&builtin_module_directory), &self) != 0) {
        const std::filesystem::path library = std::filesystem::canonical(self.dli_fname, error);
        const std::filesystem::path directory = library.parent_path() / "forkmill/modules";
        if (!error && std::filesystem::is_directory(directory, error)) return directory;
    }
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
    return program.parent_path().parent_path() / "lib/forkmill/modules";
}

base::Result<std::string> keep_module(const std::string& path, const std::string& directory) {
    std::ifstream file{path, std::ios::binary};
    const std::string bytes{std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
    if (!file || bytes.empty()) return refuse(path, "cannot be read");
    // Its own libraries are looked for beside it, so it cannot be moved.
    if (bytes.find("$ORIGIN") != std::string::npos) return path;
    std::array<char, 24> suffix{};
    std::snprintf(suffix.data(),
                  suffix.size(),
                  "-%016llx.so",
                  static_cast<unsigned long long>(hash_of(bytes)));
    const std::string kept =
        directory + "/" + std::filesystem::path{path}.stem().string() + suffix.data();
    struct stat info {};
    if (::stat(kept.c_str(), &info) == 0 && info.st_size == static_cast<off_t>(bytes.size()))
        return kept;
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        return refuse(directory, std::strerror(errno));
    if (const base::Status written = write_file(kept, bytes); !written) return written.failure();
    return kept;
}

base::Result<std::vector<std::string>> keep_modules(const std::vector<std::string>& names,
                                                    std::vector<std::string> directories,
                                                    const std::string& directory) {
    directories.push_back(builtin_module_directory());
    std::vector<std::string> kept;
    for (const std::string& name : names) {
        const base::Result<std::string> found = find_module_file(name, directories);
        if (!found) return found.failure();
        base::Result<std::string> copy = keep_module(found.value(), directory);
        if (!copy) return copy.failure();
        kept.push_back(std::move(copy).value());
    }
    return kept;
}

void sweep_modules(const std::string& directory, const std::vector<std::string>& used) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(directory, ignored))
        if (std::find(used.begin(), used.end(), entry.path().string()) == used.end())
            std::filesystem::remove(entry.path(), ignored);
}

std::string identity_of_file(const std::string& path) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return path;
    return path + " " + std::to_string(info.st_ino) + " " + std::to_string(info.st_size) + " " +
           std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec);
}

}  // namespace forkmill::supervisor
