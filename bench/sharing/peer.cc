// SPDX-License-Identifier: Apache-2.0
#include "bench/sharing/peer.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace bench {

Peer::Peer(const std::string& script) {
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0)
        throw std::runtime_error{"no pipes for the peer"};
    pid_ = ::fork();
    if (pid_ == 0) {
        ::dup2(in[0], STDIN_FILENO);
        ::dup2(out[1], STDOUT_FILENO);
        ::execlp("python3", "python3", script.c_str(), nullptr);
        ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_ = ::fdopen(in[1], "w");
    from_ = ::fdopen(out[0], "r");
}

Peer::~Peer() {
    std::fclose(to_);
    std::fclose(from_);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
}

std::optional<Figure> Peer::run(const std::string& metric,
                                const std::string& kind,
                                Clock::duration length) {
    const double seconds = std::chrono::duration<double>(length).count();
    std::fprintf(to_, "%s %s %f\n", metric.c_str(), kind.c_str(), seconds);
    std::fflush(to_);
    std::array<char, 256> line{};
    if (std::fgets(line.data(), line.size(), from_) == nullptr)
        throw std::runtime_error{"the peer ended during " + metric + " (python3 " + kind + ")"};
    Figure figure;
    const int read =
        std::sscanf(line.data(), "%lf %lf %lf", &figure.rate, &figure.p50_us, &figure.p99_us);
    if (read != 3) return std::nullopt;
    return figure;
}

}  // namespace bench
