// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/site.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>

#include "tests/support/wait_until.h"

namespace forkmill::e2e {

namespace fs = std::filesystem;
using test::built_program;
using test::Program;
using test::read_text;
using test::stretched;
using test::wait_until;

namespace {

constexpr std::chrono::seconds kNothingLeft{1};

/// Every process that was started for this case is a descendant, because orphans come to us.
std::string living() {
    std::string found;
    for (const pid_t pid : test::leftovers()) {
        std::string words = read_text("/proc/" + std::to_string(pid) + "/cmdline");
        std::replace(words.begin(), words.end(), '\0', ' ');
        found += "\n  " + std::to_string(pid) + " " + words;
    }
    return found;
}

bool has_child() {
    return ::waitid(P_ALL, 0, nullptr, WEXITED | WNOHANG | WNOWAIT) == 0;
}

std::string stray_files(const fs::path& directory) {
    std::string found;
    for (const auto& entry : fs::recursive_directory_iterator{directory}) {
        if (entry.is_socket() || entry.path().extension() == ".pid")
            found += "\n  " + entry.path().string();
    }
    return found;
}

}  // namespace

int free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int port = 0;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0)
        port = ntohs(address.sin_port);
    ::close(fd);
    return port;
}

bool accepts(int port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    const bool connected =
        ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    return connected;
}

std::vector<int> numbers_in(const fs::path& file) {
    std::ifstream stream{file};
    std::vector<int> numbers;
    for (int number = 0; stream >> number;) numbers.push_back(number);
    return numbers;
}

Gate::Gate(const fs::path& file) : name_(file.string()) {
    fd_ = ::open(name_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd_ < 0) throw std::system_error{errno, std::generic_category(), name_};
    shut();
}

void Gate::shut() {
    if (::flock(fd_, LOCK_EX) != 0) throw std::system_error{errno, std::generic_category(), name_};
}

void Gate::open() {
    ::flock(fd_, LOCK_UN);
}

std::string own_program() {
    return fs::read_symlink("/proc/self/exe").string();
}

pid_t router_of(const Daemon& broker) {
    for (const pid_t pid : test::descendants_of(broker.program->pid())) {
        const std::string words = read_text("/proc/" + std::to_string(pid) + "/cmdline");
        // As it was started, or by the title it gave itself.
        const bool is_router =
            words.find("--router") != std::string::npos || words.starts_with("forkmilld: router");
        if (is_router && test::process_alive(pid)) return pid;
    }
    return 0;
}

/// Its master has told who it is: from then on it listens to signals.
static bool is_up(const Daemon& daemon, const fs::path& state) {
    const std::string pid = std::to_string(daemon.program->pid());
    return read_text(state / "master.pid").find(pid) != std::string::npos;
}

Daemon& Site::start(const std::string& name,
                    std::vector<std::string> argv,
                    const std::vector<std::string>& environment) {
    auto daemon = std::make_unique<Daemon>();
    daemon->name = name;
    daemon->log = directory_ / (name + ".log");
    daemon->program = std::make_unique<Program>(
        std::move(argv), test::ProgramOptions{.environment = environment, .output = daemon->log});
    may_leave_.erase(name);  // It tidies up after the one of its name that was killed.
    daemons_.push_back(std::move(daemon));
    return *daemons_.back();
}

fs::path Site::write_broker_config(const BrokerWanted& wanted) {
    const fs::path state = directory_ / "state";
    std::string yaml = "state_dir: " + state.string() + "\nlisten: [" +
                       (wanted.listen.empty() ? ipc() : wanted.listen) + "]\n" + wanted.yaml;
    if (wanted.workers > 0) {
        yaml += "pools:\n  default:\n    workers: " + std::to_string(wanted.workers) +
                "\n    threads: " + std::to_string(wanted.threads) + "\n";
        if (wanted.executable != "stock")
            yaml += "    executable: " +
                    (wanted.executable.empty() ? own_program() : wanted.executable) + "\n";
        yaml += wanted.pool;
    }
    return directory_.write("broker.yaml", yaml);
}

Daemon& Site::start_broker(const BrokerWanted& wanted) {
    const fs::path state = directory_ / "state";
    const fs::path file = write_broker_config(wanted);
    Daemon& daemon = start("broker", {built_program("forkmilld").string(), "-c", file.string()});
    EXPECT_TRUE(wait_until([&] { return is_up(daemon, state); }, kLimit)) << read_text(daemon.log);
    return daemon;
}

Daemon& Site::start_host(const std::string& broker,
                         int workers,
                         const std::string& yaml,
                         std::vector<std::string> wrapper) {
    const std::string name = "host" + std::to_string(daemons_.size());
    const fs::path state = directory_ / (name + ".state");
    const fs::path file =
        directory_.write(name + ".yaml",
                         "state_dir: " + state.string() + "\nbroker: " + broker +
                             "\nhost: " + name + "\nworkers: " + std::to_string(workers) +
                             "\nexecutable: " + own_program() + "\n" + yaml);
    wrapper.insert(wrapper.end(), {built_program("forkmill-worker").string(), "-c", file.string()});
    Daemon& daemon = start(name, std::move(wrapper));
    EXPECT_TRUE(wait_until([&] { return is_up(daemon, state); }, kLimit)) << read_text(daemon.log);
    return daemon;
}

int Site::run(std::vector<std::string> argv, std::string& output, const std::string& folder) {
    const fs::path file = directory_ / ("output" + std::to_string(outputs_++));
    Program program{std::move(argv), {.output = file, .directory = folder}};
    const int code = program.wait(stretched(kLimit)).value_or(-1);
    output = read_text(file);
    return code;
}

void Site::stop(Daemon& daemon) {
    daemon.program->signal(SIGTERM);
    const auto code = daemon.program->wait(stretched(kLimit));
    EXPECT_EQ(code.value_or(-1), daemon.expected_code) << daemon.name << ":\n"
                                                       << read_text(daemon.log);
}

void Site::kill(Daemon& daemon) {
    daemon.expected_code = 128 + SIGKILL;
    daemon.program->signal(SIGKILL);
    may_leave_.insert(daemon.name);
}

void Site::TearDown() {
    // Hosts before their broker: whoever was started last ends first.
    for (auto daemon = daemons_.rbegin(); daemon != daemons_.rend(); ++daemon) stop(**daemon);
    std::string left;
    EXPECT_TRUE(wait_until([&] { return (left = living()).empty(); }, kNothingLeft))
        << "processes left behind:" << left;
    // What an orphan left may become ours only now, when the orphan was reaped.
    EXPECT_TRUE(wait_until([] { return living().empty() && !has_child(); }, kNothingLeft))
        << "a zombie is left behind";
    if (may_leave_.empty()) {
        EXPECT_EQ(stray_files(directory_.path()), "");
    }
    if (!HasFailure()) return;
    for (const auto& daemon : daemons_)
        std::fprintf(stderr, "--- %s\n%s\n", daemon->name.c_str(), read_text(daemon->log).c_str());
}

}  // namespace forkmill::e2e
