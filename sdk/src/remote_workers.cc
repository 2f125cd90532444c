// SPDX-License-Identifier: Apache-2.0
#include "sdk/src/remote_workers.h"

#include <charconv>
#include <cstdint>
#include <string>

namespace forkmill {
inline namespace v0 {
namespace detail {

namespace {

/// Walks one JSON text; every step fails at its end instead of passing it.
class Walk {
  public:
    explicit Walk(std::string_view text) : text_(text) {}

    bool at(char c) {
        skip_space();
        return !text_.empty() && text_.front() == c;
    }
    bool take(char c) {
        if (!at(c)) return false;
        text_.remove_prefix(1);
        return true;
    }
    /// A string without its quotes; escapes become their character, \u…… a question mark.
    bool string(std::string& out) {
        out.clear();
        if (!take('"')) return false;
        while (!text_.empty()) {
            const char c = text_.front();
            text_.remove_prefix(1);
            if (c == '"') return true;
            if (c != '\\') {
                out += c;
                continue;
            }
            if (text_.empty()) return false;
            const char escaped = text_.front();
            text_.remove_prefix(1);
            if (escaped == 'u') {
                if (text_.size() < 4) return false;
                text_.remove_prefix(4);
                out += '?';
            } else {
                out += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped;
            }
        }
        return false;
    }
    /// A number, true, false or null, as text.
    bool scalar(std::string& out) {
        skip_space();
        const std::size_t end = text_.find_first_of(",]} \n\t\r");
        if (end == 0 || end == std::string_view::npos) return false;
        out = text_.substr(0, end);
        text_.remove_prefix(end);
        return true;
    }
    /// Goes to the array of key `key`, wherever it is.
    bool find_array(std::string_view key) {
        const std::string quoted = "\"" + std::string{key} + "\"";
        const std::size_t place = text_.find(quoted);
        if (place == std::string_view::npos) return false;
        text_.remove_prefix(place + quoted.size());
        return take(':') && take('[');
    }

  private:
    void skip_space() {
        const std::size_t first = text_.find_first_not_of(" \n\t\r");
        text_.remove_prefix(first == std::string_view::npos ? text_.size() : first);
    }

    std::string_view text_;
};

bool read_row(Walk& walk, WorkerInfo& info) {
    if (!walk.take('{')) return false;
    std::string key;
    std::string value;
    while (!walk.take('}')) {
        if (!walk.string(key) || !walk.take(':')) return false;
        if (!(walk.at('"') ? walk.string(value) : walk.scalar(value))) return false;
        const auto number = [&value](auto& to) {
            std::from_chars(value.data(), value.data() + value.size(), to);
        };
        if (key == "host") info.host = value;
        if (key == "pid") number(info.pid);
        if (key == "state") info.state = value;
        if (key == "pool") info.pool = value;
        if (key == "slot") number(info.slot);
        if (key == "done") number(info.done);
        walk.take(',');
    }
    return true;
}

}  // namespace

std::vector<WorkerInfo> workers_of_reply(std::string_view json) {
    std::vector<WorkerInfo> list;
    Walk walk{json};
    if (!walk.find_array("workers")) return list;
    while (walk.at('{')) {
        WorkerInfo info;
        if (!read_row(walk, info)) break;
        if (info.pid != 0) list.push_back(std::move(info));
        walk.take(',');
    }
    return list;
}

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
