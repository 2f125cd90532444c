// SPDX-License-Identifier: Apache-2.0
// E1, a folder copier: every file is a task; completion callbacks in this program move the progress
// bar.
//
//   copier FROM TO [POOL]       POOL: local:4 (default), ipc://…, tcp://…
//   copier worker …             the same program as a worker of a daemon's pool (executable:
//   copier, arguments: [worker])
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "forkmill/forkmill.h"
#include "progress_bar.h"

namespace fs = std::filesystem;

/// Copies one file (or symbolic link) and returns its size.
inline constexpr forkmill::Task<"copier.copy", std::uint64_t(std::string, std::string)> copy_file;

static std::uint64_t do_copy(std::string from, std::string to) {
    if (fs::is_symlink(from)) {
        fs::remove(to);  // A task may run again: its worker may die just after this line.
        fs::copy_symlink(from, to);
        return 0;
    }
    fs::copy_file(from, to, fs::copy_options::overwrite_existing);
    return fs::file_size(to);
}

static int copy_tree(const fs::path& from,
                     const fs::path& to,
                     const std::string& where,
                     const forkmill::Tasks& tasks) {
    std::vector<std::pair<std::string, std::string>> files;
    fs::create_directories(to);
    for (const auto& entry : fs::recursive_directory_iterator(from)) {
        // fs::relative() would follow the links that are to be copied.
        const fs::path target = to / entry.path().lexically_relative(from);
        if (entry.is_directory() && !entry.is_symlink()) {
            fs::create_directories(target);
        } else {
            files.emplace_back(entry.path(), target);
        }
    }

    forkmill::PoolOptions options;
    options.endpoint = where;
    if (where.starts_with("local:")) options.tasks = tasks;
    forkmill::Pool pool{options};
    ProgressBar bar{"copying", files.size()};
    std::uint64_t bytes = 0;
    std::size_t failed = 0;
    // Callbacks run one after another on one thread of this program, so they may share what they
    // touch.
    for (const auto& [source, target] : files) {
        pool.apply_async(copy_file, source, target)
            .then(
                [&](std::uint64_t size) {
                    bytes += size;
                    bar.advance();
                },
                [&](const forkmill::Error& error) {
                    std::cerr << error.what() << '\n';
                    ++failed;
                    bar.advance();
                });
    }
    pool.close();
    pool.join();  // All tasks have settled and all callbacks have run.
    bar.finish();
    std::cout << "copied " << files.size() - failed << " files, " << bytes << " bytes, " << failed
              << " failed\n";
    return failed == 0 ? 0 : 1;
}

int main(int argc, char** argv) {
    forkmill::Worker worker;
    worker.tasks.bind(copy_file, do_copy);
    if (argc > 1 && std::string_view{argv[1]} == "worker") return worker.run(argc - 1, argv + 1);
    if (argc < 3) {
        std::cerr << "usage: copier FROM TO [POOL]\n";
        return 2;
    }
    try {
        return copy_tree(argv[1], argv[2], argc > 3 ? argv[3] : "local:4", worker.tasks);
    } catch (const std::exception& error) {
        std::cerr << "copier: " << error.what() << '\n';
        return 1;
    }
}
