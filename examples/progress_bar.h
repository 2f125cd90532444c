// SPDX-License-Identifier: Apache-2.0
// One line on stderr that shows how far a batch has come; on a pipe it stays silent until the end.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>

class ProgressBar {
  public:
    ProgressBar(std::string title, std::size_t total)
        : title_(std::move(title)),
          total_(std::max<std::size_t>(total, 1)),
          terminal_(::isatty(2) != 0) {}

    void advance() {
        ++done_;
        const auto now = Clock::now();
        if (!terminal_ || (done_ < total_ && now - drawn_ < std::chrono::milliseconds{50})) return;
        drawn_ = now;
        draw();
    }
    void finish() {
        draw();
        std::fputc('\n', stderr);
    }

  private:
    using Clock = std::chrono::steady_clock;

    void draw() const {
        constexpr std::size_t kWidth = 30;
        const std::size_t filled = done_ * kWidth / total_;
        const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
        const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
        std::fprintf(stderr,
                     "%s%s [%s%s] %zu/%zu  %.0f/s",
                     terminal_ ? "\r" : "",
                     title_.c_str(),
                     std::string(filled, '#').c_str(),
                     std::string(kWidth - filled, '.').c_str(),
                     done_,
                     total_,
                     rate);
    }

    std::string title_;
    std::size_t total_;
    std::size_t done_ = 0;
    bool terminal_;
    Clock::time_point start_ = Clock::now();
    Clock::time_point drawn_{};
};
