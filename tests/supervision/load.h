// SPDX-License-Identifier: Apache-2.0
// Load: a client that never pauses, for cases that must not be noticed by it.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/tasks.h"

namespace forkmill::e2e {

/// Maps `text` over 50 numbers without pause until it ends; counts what came of it.
class Load {
  public:
    explicit Load(const std::string& endpoint) : pool_{endpoint} {
        thread_ = std::thread{[this] {
            while (!stop_) {
                const std::vector<std::size_t> sizes(50, 8);
                try {
                    const auto asked = std::chrono::steady_clock::now();
                    good_ += static_cast<int>(pool_.map(text, sizes).size());
                    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
                        std::chrono::steady_clock::now() - asked);
                    if (took.count() > longest_gap_ms_) longest_gap_ms_ = took.count();
                } catch (const Error&) {
                    ++bad_;
                }
            }
        }};
    }
    ~Load() {
        stop_ = true;
        thread_.join();
    }
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;
    int good() const { return good_; }
    int bad() const { return bad_; }
    std::chrono::milliseconds longest_gap() const {
        return std::chrono::milliseconds{longest_gap_ms_};
    }

  private:
    Pool pool_;
    std::atomic<bool> stop_{false};
    std::atomic<int> good_{0};
    std::atomic<int> bad_{0};
    std::atomic<std::int64_t> longest_gap_ms_{0};
    std::thread thread_;
};

}  // namespace forkmill::e2e
