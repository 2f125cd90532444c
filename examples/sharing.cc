// SPDX-License-Identifier: Apache-2.0
// E5 to E8: tasks that share a lock, a queue, a dict.
//
//   sharing print [POOL]    E5: ten tasks write lines to one file, letter by letter, under a lock
//   sharing bound [POOL]    E6: a queue of three that is full and empty at times
//   sharing count [POOL]    E7: twenty tasks take one of a hundred, with and without care
//   sharing talk [POOL]     E8: a task that writes and a task that reads, over a queue
//   sharing worker …
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "forkmill/forkmill.h"
#include "forkmill/shared.h"

using namespace std::chrono_literals;
using Counts = forkmill::Dict<std::string, int>;
using Words = forkmill::Queue<std::string>;

inline constexpr forkmill::Task<"sharing.print", int(forkmill::Lock, std::string, int)> print_line;
inline constexpr forkmill::Task<"sharing.take", int(Counts, std::string, forkmill::Lock)> take_one;
inline constexpr forkmill::Task<"sharing.write", int(Words, int)> write_words;
inline constexpr forkmill::Task<"sharing.read", int(Words)> read_words;

static int do_print(forkmill::Lock lock, std::string path, int number) {
    const std::string line =
        "line " + std::to_string(number) + " of process " + std::to_string(::getpid()) + "\n";
    const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    const std::scoped_lock guard{lock};
    int written = 0;
    for (const char letter : line) {
        written += ::write(fd, &letter, 1) == 1 ? 1 : 0;
        ::sched_yield();
    }
    ::close(fd);
    return written;
}

static int do_take(Counts counts, std::string how, forkmill::Lock lock) {
    const auto take = [&] {
        const int before = counts.at("count");
        counts.set("count", before - 1);
    };
    if (how == "without") {
        take();
    } else if (how == "lock") {
        const std::scoped_lock guard{lock};
        take();
    } else {
        counts.update("count", [](std::optional<int> count) { return count.value() - 1; });
    }
    return ::getpid();
}

static int do_write(Words words, int count) {
    for (int i = 0; i < count; ++i)
        words.put("word " + std::to_string(i) + " from " + std::to_string(::getpid()));
    words.shut();
    return ::getpid();
}

static int do_read(Words words) {
    int count = 0;
    try {
        for (;; ++count) std::printf("got %s\n", words.get().c_str());
    } catch (const forkmill::ObjectClosed&) {  // Shut, and nothing is left.
        std::fflush(stdout);
        return count;
    }
}

static void print(forkmill::Pool& pool) {
    forkmill::Lock lock{pool};
    std::string path = (std::filesystem::temp_directory_path() / "sharing.XXXXXX").string();
    ::close(::mkstemp(path.data()));
    std::vector<forkmill::AsyncResult<int>> lines;
    for (int i = 0; i < 10; ++i) lines.push_back(pool.apply_async(print_line, lock, path, i));
    for (auto& line : lines) line.get();
    std::cout << std::ifstream{path}.rdbuf();
    std::filesystem::remove(path);
}

static void bound(forkmill::Pool& pool) {
    Words words{pool, {.maxsize = 3}};
    for (const char* word : {"one", "two", "three"}) words.put(word);
    std::cout << "size " << words.size() << (words.full() ? ", full\n" : "\n");
    std::cout << "try_put: " << (words.try_put("four") ? "done" : "refused at once") << '\n';
    try {
        words.put_for("four", 200ms);
    } catch (const forkmill::QueueFull&) {
        std::cout << "put_for: full after 200 ms\n";
    }
    auto waiting = words.put_async("four");
    std::cout << "put: " << (waiting.ready() ? "done" : "waits") << '\n';
    const int read = [&] {
        auto reader = pool.apply_async(read_words, words);
        waiting.get();
        words.shut();
        return reader.get();
    }();
    std::cout << "a reader got " << read << '\n';
}

static void count(forkmill::Pool& pool) {
    forkmill::Lock lock{pool};
    for (const std::string how : {"without", "lock", "update"}) {
        Counts counts{pool};
        counts.set("count", 100);
        std::vector<forkmill::AsyncResult<int>> takers;
        for (int i = 0; i < 20; ++i)
            takers.push_back(pool.apply_async(take_one, counts, how, lock));
        for (auto& taker : takers) taker.get();
        std::cout << how << ": " << counts.at("count") << '\n';
    }
}

static void talk(forkmill::Pool& pool) {
    Words words{pool, {.maxsize = 10}};
    auto reader = pool.apply_async(read_words, words);
    auto writer = pool.apply_async(write_words, words, 100);
    std::cout << "process " << writer.get() << " wrote, the reader got " << reader.get() << '\n';
}

int main(int argc, char** argv) {
    forkmill::Worker worker;
    worker.tasks.bind(print_line, do_print)
        .bind(take_one, do_take)
        .bind(write_words, do_write)
        .bind(read_words, do_read);
    const std::string_view what = argc > 1 ? argv[1] : "";
    if (what == "worker") return worker.run(argc - 1, argv + 1);
    try {
        forkmill::PoolOptions options;
        options.endpoint = argc > 2 ? argv[2] : "local:4";
        if (options.endpoint.starts_with("local:")) options.tasks = worker.tasks;
        forkmill::Pool pool{options};
        if (what == "print") {
            print(pool);
        } else if (what == "bound") {
            bound(pool);
        } else if (what == "count") {
            count(pool);
        } else if (what == "talk") {
            talk(pool);
        } else {
            std::cerr << "usage: sharing print|bound|count|talk [POOL]\n";
            return 2;
        }
    } catch (const std::exception& error) {
        std::cerr << "sharing: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
