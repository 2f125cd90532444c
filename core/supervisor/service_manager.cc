// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/service_manager.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>

namespace forkmill::supervisor {

namespace {

/// The variable's value; it is gone from the environment afterwards.
std::optional<std::string> take(const char* name, std::vector<std::string>& taken) {
    const char* value = std::getenv(name);
    if (value == nullptr) return std::nullopt;
    std::string text{value};
    ::unsetenv(name);
    taken.push_back(std::string{name} + "=" + text);
    return text;
}

/// 0 when it is no number.
std::uint64_t number_of(const std::string& text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() ? number : 0;
}

std::string one_line(std::string_view text) {
    constexpr std::size_t max = ServiceManager::kStatusMax;
    // Not within a character: the manager drops a status that is no UTF-8.
    std::size_t size = std::min(text.size(), max);
    if (size < text.size())
        while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80U) --size;
    std::string line{text.substr(0, size)};
    for (char& c : line)
        if (static_cast<unsigned char>(c) < 0x20U || c == 0x7f) c = ' ';
    return line;
}

}  // namespace

ServiceManager::ServiceManager() {
    const std::optional<std::string> address = take("NOTIFY_SOCKET", taken_);
    const std::optional<std::string> limit = take("WATCHDOG_USEC", taken_);
    const std::optional<std::string> pid = take("WATCHDOG_PID", taken_);
    if (address) open(*address);
    // A limit that was meant for another process, our parent perhaps, is not kept by us.
    const bool is_ours = !pid || number_of(*pid) == static_cast<std::uint64_t>(::getpid());
    const std::uint64_t microseconds = limit && is_ours ? number_of(*limit) : 0;
    constexpr std::uint64_t kLongest = INT64_MAX / 1000;
    if (present() && microseconds > 1 && microseconds <= kLongest)
        interval_ = std::chrono::microseconds{static_cast<std::int64_t>(microseconds / 2)};
}

void ServiceManager::open(std::string_view address) {
    if (address.size() < 2 || address.size() >= sizeof address_.sun_path) return;
    if (address[0] != '/' && address[0] != '@') return;
    address_.sun_family = AF_UNIX;
    std::copy(address.begin(), address.end(), address_.sun_path);
    // In an abstract name the length counts and a NUL stands first; a path ends with one.
    const bool is_abstract = address[0] == '@';
    if (is_abstract) address_.sun_path[0] = '\0';
    address_size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size() +
                                           (is_abstract ? 0 : 1));
    socket_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

void ServiceManager::ready(std::string_view status) {
    tell("READY=1\nSTATUS=" + one_line(status));
}

void ServiceManager::reloading() {
    // The manager tells by the time whether a READY=1 belongs to this reload or to an earlier one.
    const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
        base::monotonic_now().time_since_epoch());
    tell("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.count()));
}

void ServiceManager::stopping() {
    tell("STOPPING=1");
}

void ServiceManager::status(std::string_view text) {
    // The next status says more than one that is late, so this one is not kept.
    if (present() && send_unsent()) static_cast<void>(send("STATUS=" + one_line(text)));
}

void ServiceManager::watchdog() {
    if (!present()) return;
    // First, since it must not wait behind words that the manager has no room for.
    static_cast<void>(send("WATCHDOG=1"));
    static_cast<void>(send_unsent());
}

/// A change of state: it must arrive, in order, or the manager takes a good start for a failed one.
void ServiceManager::tell(std::string message) {
    if (!present()) return;
    if (send_unsent() && send(message)) return;
    if (unsent_.size() == kUnsentMax) unsent_.pop_front();
    unsent_.push_back(std::move(message));
}

bool ServiceManager::send_unsent() {
    while (!unsent_.empty() && send(unsent_.front())) unsent_.pop_front();
    return unsent_.empty();
}

/// False: the manager has no room now. What cannot be delivered at all counts as sent.
bool ServiceManager::send(const std::string& message) const {
    ssize_t sent = 0;
    do {
        sent = ::sendto(socket_.get(),
                        message.data(),
                        message.size(),
                        MSG_DONTWAIT | MSG_NOSIGNAL,
                        reinterpret_cast<const sockaddr*>(&address_),
                        address_size_);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS);
}

}  // namespace forkmill::supervisor
