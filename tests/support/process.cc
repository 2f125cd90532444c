// SPDX-License-Identifier: Apache-2.0
#include "tests/support/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <system_error>

#include "tests/support/wait_until.h"

namespace forkmill::test {
namespace {

/// State and parent from /proc/PID/stat; the name in between may hold blanks and parentheses.
struct Stat {
    char state = 0;
    pid_t parent = 0;
};

Stat stat_of(pid_t pid) {
    // With plain read(): a stream throws when the process ends between its open and its read.
    const int fd = ::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC);
    std::array<char, 512> bytes;
    const ssize_t size = fd < 0 ? -1 : ::read(fd, bytes.data(), bytes.size());
    if (fd >= 0) ::close(fd);
    const std::string_view text{bytes.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
    const std::size_t end = text.rfind(')');
    if (end == std::string::npos || end + 4 >= text.size()) return {};
    return {text[end + 2], static_cast<pid_t>(std::stol(std::string{text.substr(end + 4)}))};
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    pointers.reserve(texts.size() + 1);
    for (std::string& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
}

void redirect(const char* file) {
    const int fd = ::open(file, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || ::dup2(fd, STDOUT_FILENO) < 0 || ::dup2(fd, STDERR_FILENO) < 0) ::_exit(126);
}

}  // namespace

std::filesystem::path built_program(const std::string& name) {
    return std::filesystem::path{FORKMILL_TEST_BIN_DIR} / name;
}

Program::Program(std::vector<std::string> argv, const ProgramOptions& options) {
    std::vector<std::string> environment = options.environment;
    for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
    const std::vector<char*> argument_pointers = pointers_to(argv);
    const std::vector<char*> environment_pointers = pointers_to(environment);
    const std::string output = options.output.string();
    const std::string directory = options.directory.string();

    pid_ = ::fork();
    if (pid_ < 0) throw std::system_error{errno, std::generic_category(), "fork"};
    if (pid_ > 0) return;
    // Only calls that are safe between fork and exec in a program with threads.
    if (!output.empty()) redirect(output.c_str());
    if (!directory.empty() && ::chdir(directory.c_str()) != 0) ::_exit(126);
    ::execve(argument_pointers[0], argument_pointers.data(), environment_pointers.data());
    ::_exit(127);
}

Program::~Program() {
    if (code_.has_value()) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

void Program::signal(int number) const {
    // After the reap the number may belong to somebody else.
    if (!code_.has_value()) ::kill(pid_, number);
}

std::optional<int> Program::wait(std::chrono::milliseconds limit) {
    const auto reaped = [this] {
        int status = 0;
        if (code_.has_value()) return true;
        if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
        code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return true;
    };
    if (!reaped() && limit.count() > 0) (void)wait_until(reaped, limit);
    return code_;
}

char process_state(pid_t pid) {
    return stat_of(pid).state;
}

bool process_alive(pid_t pid) {
    const char state = process_state(pid);
    return state != 0 && state != 'Z' && state != 'X';
}

std::vector<pid_t> descendants_of(pid_t pid) {
    std::multimap<pid_t, pid_t> children;
    for (const auto& entry : std::filesystem::directory_iterator{"/proc"}) {
        const std::string name = entry.path().filename().string();
        if (name.find_first_not_of("0123456789") != std::string::npos) continue;
        const auto child = static_cast<pid_t>(std::stol(name));
        const Stat stat = stat_of(child);
        if (stat.state != 0) children.emplace(stat.parent, child);
    }
    std::vector<pid_t> found{pid};
    for (std::size_t i = 0; i < found.size(); ++i) {
        const auto [begin, end] = children.equal_range(found[i]);
        for (auto child = begin; child != end; ++child) found.push_back(child->second);
    }
    found.erase(found.begin());
    return found;
}

void adopt_orphans() {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

std::vector<pid_t> leftovers() {
    std::vector<pid_t> left;
    for (const pid_t pid : descendants_of(::getpid())) {
        // Reaps a direct child that ended; anything else is not ours to wait for.
        if (process_state(pid) == 'Z') ::waitpid(pid, nullptr, WNOHANG);
        if (process_alive(pid)) left.push_back(pid);
    }
    return left;
}

std::vector<std::string> open_files(pid_t pid) {
    std::vector<std::string> names;
    std::error_code gone;  // A file closed while we look is no leak.
    const std::filesystem::path folder = "/proc/" + std::to_string(pid) + "/fd";
    for (const auto& entry : std::filesystem::directory_iterator{folder, gone}) {
        const std::string name = std::filesystem::read_symlink(entry.path(), gone).string();
        if (!name.empty()) names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace forkmill::test
