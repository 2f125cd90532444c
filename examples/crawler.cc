// SPDX-License-Identifier: Apache-2.0
// E2, a page crawler: workers fetch pages over HTTP; the callback in this program, the only writer,
// stores them and follows their links.
//
//   crawler HOST:PORT PATH OUT_DIR [POOL]
//   crawler worker …
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "forkmill/forkmill.h"

namespace fs = std::filesystem;

struct Page {
    std::string path;
    std::string body;
    std::vector<std::string> links;
    FORKMILL_FIELDS(path, body, links)
};

inline constexpr forkmill::Task<"crawler.fetch", Page(std::string, std::string)> fetch;

static std::string http_get(const std::string& host_port, const std::string& path) {
    const auto colon = host_port.rfind(':');
    const std::string host = host_port.substr(0, colon);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(host.c_str(), host_port.substr(colon + 1).c_str(), &hints, &found) != 0)
        throw std::runtime_error("cannot resolve " + host_port);
    const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int connected = ::connect(fd, found->ai_addr, found->ai_addrlen);
    ::freeaddrinfo(found);
    if (connected != 0) {
        ::close(fd);
        throw std::runtime_error("cannot connect to " + host_port);
    }
    const std::string request =
        "GET " + path + " HTTP/1.0\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
    std::string reply;
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
        static_cast<ssize_t>(request.size())) {
        char buffer[65536];
        for (ssize_t got = 0; (got = ::recv(fd, buffer, sizeof buffer, 0)) > 0;)
            reply.append(buffer, static_cast<std::size_t>(got));
    }
    ::close(fd);
    const auto head = reply.find("\r\n\r\n");
    if (head == std::string::npos || reply.compare(0, 5, "HTTP/") != 0)
        throw std::runtime_error("no HTTP answer for " + path);
    if (reply.substr(9, 3) != "200")
        throw std::runtime_error(path + " answered " + reply.substr(9, 3));
    return reply.substr(head + 4);
}

static Page do_fetch(std::string host_port, std::string path) {
    Page page{path, http_get(host_port, path), {}};
    static const std::regex link{"href=\"([^\"#?:]+)\""};
    const std::string directory = path.substr(0, path.rfind('/') + 1);
    for (auto it = std::sregex_iterator(page.body.begin(), page.body.end(), link);
         it != std::sregex_iterator();
         ++it) {
        const std::string target = (*it)[1];
        page.links.push_back(target.starts_with('/')
                                 ? target
                                 : (fs::path{directory} / target).lexically_normal().string());
    }
    return page;
}

/// Follows links until no page is on its way. Everything but http_get happens on the callback
/// thread.
class Crawl {
  public:
    Crawl(forkmill::Pool& pool, std::string host_port, fs::path out)
        : pool_(pool), host_port_(std::move(host_port)), out_(std::move(out)) {}

    void visit(const std::string& path) {
        if (!seen_.insert(path).second) return;
        {
            const std::lock_guard lock{mutex_};
            ++outstanding_;
        }
        pool_.apply_async(fetch, host_port_, path)
            .then([this](Page page) { store(page); },
                  [this, path](const forkmill::Error& error) { fail(path, error); });
    }
    void wait() {
        std::unique_lock lock{mutex_};
        idle_.wait(lock, [&] { return outstanding_ == 0; });
    }
    std::size_t pages = 0;
    std::size_t bytes = 0;
    std::size_t failures = 0;

  private:
    void store(const Page& page) {
        fs::path file = out_ / page.path.substr(1);
        if (page.path.ends_with('/')) file /= "index.html";
        fs::create_directories(file.parent_path());
        std::ofstream{file, std::ios::binary} << page.body;
        ++pages;
        bytes += page.body.size();
        for (const std::string& link : page.links) visit(link);
        settled();
    }
    void fail(const std::string& path, const forkmill::Error& error) {
        ++failures;
        std::cerr << path << ": " << error.what() << '\n';
        settled();
    }
    void settled() {
        const std::lock_guard lock{mutex_};
        if (--outstanding_ == 0) idle_.notify_all();
    }

    forkmill::Pool& pool_;
    std::string host_port_;
    fs::path out_;
    std::set<std::string> seen_;
    std::mutex mutex_;
    std::condition_variable idle_;
    std::size_t outstanding_ = 0;
};

int main(int argc, char** argv) {
    forkmill::Worker worker;
    worker.tasks.bind(fetch, do_fetch);
    if (argc > 1 && std::string_view{argv[1]} == "worker") return worker.run(argc - 1, argv + 1);
    if (argc < 4) {
        std::cerr << "usage: crawler HOST:PORT PATH OUT_DIR [POOL]\n";
        return 2;
    }
    try {
        forkmill::PoolOptions options;
        options.endpoint = argc > 4 ? argv[4] : "local:4";
        if (options.endpoint.starts_with("local:")) options.tasks = worker.tasks;
        forkmill::Pool pool{options};
        Crawl crawl{pool, argv[1], argv[3]};
        crawl.visit(argv[2]);
        crawl.wait();
        std::cout << "crawled " << crawl.pages << " pages, " << crawl.bytes << " bytes, "
                  << crawl.failures << " failed\n";
        return crawl.failures == 0 ? 0 : 1;
    } catch (const std::exception& error) {
        std::cerr << "crawler: " << error.what() << '\n';
        return 1;
    }
}
