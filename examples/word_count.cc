// SPDX-License-Identifier: Apache-2.0
// E3, a word count: workers count the words of one file each; this program adds up.
//
//   word_count DIRECTORY [POOL]
//   word_count worker …
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "forkmill/forkmill.h"
#include "progress_bar.h"

namespace fs = std::filesystem;
using Counts = std::map<std::string, std::uint64_t>;

inline constexpr forkmill::Task<"words.count", Counts(std::string)> count_words;

static Counts do_count(std::string path) {
    Counts counts;
    std::ifstream file{path, std::ios::binary};
    std::string word;
    const auto flush = [&] {
        if (!word.empty()) ++counts[word];
        word.clear();
    };
    for (char c = 0; file.get(c);) {
        if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
            word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        } else {
            flush();
        }
    }
    flush();
    return counts;
}

int main(int argc, char** argv) {
    forkmill::Worker worker;
    worker.tasks.bind(count_words, do_count);
    if (argc > 1 && std::string_view{argv[1]} == "worker") return worker.run(argc - 1, argv + 1);
    if (argc < 2) {
        std::cerr << "usage: word_count DIRECTORY [POOL]\n";
        return 2;
    }
    try {
        std::vector<std::string> files;
        for (const auto& entry : fs::recursive_directory_iterator(argv[1])) {
            if (entry.is_regular_file()) files.push_back(entry.path());
        }
        forkmill::PoolOptions options;
        options.endpoint = argc > 2 ? argv[2] : "local:4";
        if (options.endpoint.starts_with("local:")) options.tasks = worker.tasks;
        forkmill::Pool pool{options};
        ProgressBar bar{"counting", files.size()};
        Counts total;
        for (const Counts& counts : pool.imap_unordered(count_words, files)) {
            for (const auto& [word, count] : counts) total[word] += count;
            bar.advance();
        }
        bar.finish();
        std::vector<std::pair<std::uint64_t, std::string>> ranked;
        std::uint64_t words = 0;
        for (const auto& [word, count] : total) {
            words += count;
            ranked.emplace_back(count, word);
        }
        std::sort(ranked.rbegin(), ranked.rend());
        std::cout << words << " words, " << total.size() << " different\n";
        for (std::size_t i = 0; i < std::min<std::size_t>(10, ranked.size()); ++i)
            std::cout << ranked[i].first << ' ' << ranked[i].second << '\n';
    } catch (const std::exception& error) {
        std::cerr << "word_count: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
