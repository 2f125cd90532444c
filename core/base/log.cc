// SPDX-License-Identifier: Apache-2.0
#include "core/base/log.h"

#include <fcntl.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <mutex>
#include <utility>

namespace forkmill::base {
namespace {

constexpr std::size_t kEventBytes = 256;
constexpr std::size_t kValueBytes = 1024;

/// One write(2) per line: what spdlog's own file sink buffers would be lost by a kill -9.
class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
  public:
    explicit LineSink(std::string file) : file_(std::move(file)) {}
    ~LineSink() override { replace(STDERR_FILENO); }

    Status open() {
        if (file_.empty()) return Done{};
        const int fd =
            ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0640);
        if (fd < 0) return system_failure("log file " + file_);
        const std::lock_guard lock{mutex_};
        replace(fd);
        return Done{};
    }

  protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        spdlog::memory_buf_t line;
        formatter_->format(message, line);
        const char* at = line.data();
        std::size_t left = line.size();
        while (left > 0) {
            const ssize_t written = ::write(fd_, at, left);
            if (written < 0 && errno == EINTR) continue;
            if (written <= 0)
                return;  // A full disk must not stop the work; the next line tries again.
            at += written;
            left -= static_cast<std::size_t>(written);
        }
    }
    void flush_() override {}

  private:
    void replace(int fd) {
        if (fd_ != STDERR_FILENO) ::close(fd_);
        fd_ = fd;
    }

    const std::string file_;
    int fd_ = STDERR_FILENO;
};

struct Log {
    std::shared_ptr<LineSink> sink;
    std::shared_ptr<spdlog::logger> logger;
};

spdlog::level::level_enum as_spdlog(LogLevel level) {
    switch (level) {
        case LogLevel::Error:
            return spdlog::level::err;
        case LogLevel::Warning:
            return spdlog::level::warn;
        case LogLevel::Info:
            return spdlog::level::info;
        case LogLevel::Debug:
            return spdlog::level::debug;
    }
    return spdlog::level::info;
}

Log make(const LogOptions& options) {
    Log log;
    log.sink = std::make_shared<LineSink>(options.file);
    log.logger = std::make_shared<spdlog::logger>(options.name, log.sink);
    log.logger->set_formatter(std::make_unique<spdlog::pattern_formatter>(
        "%Y-%m-%dT%H:%M:%S.%eZ %l %n[%P] %v", spdlog::pattern_time_type::utc));
    log.logger->set_level(as_spdlog(options.level));
    return log;
}

/// Never destroyed: threads may still log while a process exits.
Log& current() {
    static Log* log = new Log{make({.level = LogLevel::Warning})};
    return *log;
}

bool is_bare(std::string_view value) {
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte == 0x7f || c == '"' || c == '=' || c == '\\') return false;
    }
    return !value.empty();
}

/// `value`, without anything that could end the line or move a terminal's cursor.
void append_escaped(std::string& out, std::string_view value) {
    constexpr std::string_view kHex = "0123456789abcdef";
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (byte < 0x20 || byte == 0x7f) {
            out += "\\x";
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        } else {
            out += c;
        }
    }
}

}  // namespace

Status log_start(const LogOptions& options) {
    Log log = make(options);
    Status opened = log.sink->open();
    if (opened) current() = std::move(log);
    return opened;
}

Status log_reopen() {
    return current().sink->open();
}

void log_set_level(LogLevel level) {
    current().logger->set_level(as_spdlog(level));
}

bool log_enabled(LogLevel level) {
    return current().logger->should_log(as_spdlog(level));
}

void log_line(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
    if (!log_enabled(level)) return;
    std::string line;
    append_escaped(line, event.substr(0, kEventBytes));
    for (const LogField& field : fields) {
        line += ' ';
        line += field.key;
        line += '=';
        const std::string_view value = std::string_view{field.value}.substr(0, kValueBytes);
        if (is_bare(value)) {
            line += value;
        } else {
            line += '"';
            append_escaped(line, value);
            line += '"';
        }
        if (value.size() < field.value.size()) line += "…";
    }
    current().logger->log(as_spdlog(level), spdlog::string_view_t{line.data(), line.size()});
}

}  // namespace forkmill::base
