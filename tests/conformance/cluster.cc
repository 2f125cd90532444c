// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/cluster.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/conformance/tasks.h"

namespace conformance {

namespace {

using Clock = std::chrono::steady_clock;

std::string binary(const char* name) {
    // The daemons are built beside this program.
    return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
}

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

std::string pool_yaml(const Wanted& wanted, int workers, const std::string& indent) {
    std::ostringstream out;
    out << indent << "workers: " << workers << "\n"
        << indent << "threads: " << wanted.threads << "\n";
    out << indent << "executable: " << std::filesystem::read_symlink("/proc/self/exe").string()
        << "\n";
    if (wanted.max_tasks_per_child != 0)
        out << indent << "max_tasks_per_child: " << wanted.max_tasks_per_child << "\n";
    if (!wanted.initializer.empty())
        out << indent << "environment: {CONFORMANCE_INITIALIZER: \"" << wanted.initializer
            << "\"}\n";
    return out.str();
}

}  // namespace

char letter(Size size) {
    return size == Size::E ? 'E' : size == Size::I ? 'I' : 'T';
}

bool wait_until(double seconds, const std::function<bool()>& condition) {
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    while (!condition()) {
        if (Clock::now() >= end) return condition();
        ::poll(nullptr, 0, 2);
    }
    return true;
}

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

bool process_exists(pid_t pid) {
    std::ifstream stat{"/proc/" + std::to_string(pid) + "/stat"};
    std::string line;
    if (!std::getline(stat, line)) return false;
    const auto paren = line.rfind(')');
    return paren != std::string::npos && paren + 2 < line.size() && line[paren + 2] != 'Z';
}

Daemon::Daemon(std::vector<std::string> argv,
               std::vector<std::string> environment,
               std::string log_path)
    : log_path_(std::move(log_path)) {
    std::vector<char*> arguments;
    for (std::string& argument : argv) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    std::vector<char*> variables;
    // A case that ran before in this process may have left another directory in our environment.
    for (char** variable = environ; *variable != nullptr; ++variable) {
        if (!std::string_view{*variable}.starts_with("CONFORMANCE_"))
            variables.push_back(*variable);
    }
    for (std::string& variable : environment) variables.push_back(variable.data());
    variables.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(
        &actions, 2, log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    const int failed = ::posix_spawn(
        &pid_, argv[0].c_str(), &actions, nullptr, arguments.data(), variables.data());
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) ADD_FAILURE() << "cannot start " << argv[0] << ": errno " << failed;
}

Daemon::~Daemon() {
    if (pid_ > 0 && exit_ < 0) {
        ::kill(pid_, SIGKILL);
        wait_exit(5);
    }
}

bool Daemon::running() {
    return wait_exit(0) < 0;
}
void Daemon::signal(int number) {
    if (exit_ < 0) ::kill(pid_, number);
}

int Daemon::wait_exit(double seconds) {
    if (exit_ >= 0) return exit_;
    wait_until(seconds, [&] {
        int status = 0;
        if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
        exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return true;
    });
    return exit_;
}

std::string Daemon::log() const {
    std::ifstream file{log_path_};
    return {std::istreambuf_iterator<char>{file}, {}};
}

Cluster::Cluster(Size size, Wanted wanted) : size_(size), wanted_(std::move(wanted)) {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "forkmill-conf-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) ADD_FAILURE() << "no temporary directory";
    directory_ = pattern;
    if (size_ == Size::E) return;
    start_broker();
    if (size_ != Size::T) return;
    const int first = (wanted_.workers + 1) / 2;
    start_host(1, first);
    start_host(2, std::max(1, wanted_.workers - first));
}

void Cluster::start_broker() {
    endpoint_ = size_ == Size::I ? "ipc://" + directory_ + "/broker.sock"
                                 : "tcp://127.0.0.1:" + std::to_string(free_port());
    std::ofstream yaml{directory_ + "/broker.yaml"};
    yaml << "state_dir: " << directory_ << "/state\nlisten: [\"" << endpoint_ << "\"]\n";
    if (size_ == Size::I)
        yaml << "pools:\n  default:\n" << pool_yaml(wanted_, wanted_.workers, "    ");
    yaml << wanted_.extra_broker_yaml;
    yaml.close();
    broker_ = std::make_unique<Daemon>(
        std::vector<std::string>{binary("forkmilld"), "-c", directory_ + "/broker.yaml"},
        std::vector<std::string>{"CONFORMANCE_DIRECTORY=" + directory_},
        directory_ + "/broker.log");
    wait_started(directory_ + "/state", *broker_);
}

void Cluster::wait_started(const std::string& state, Daemon& daemon) {
    // A process that was only just forked has no handlers yet: TERM would simply end it.
    if (!wait_until(10, [&] {
            return std::filesystem::exists(state + "/master.pid") || !daemon.running();
        }))
        ADD_FAILURE() << "not started: " << daemon.log();
}

void Cluster::start_host(int number, int workers) {
    const std::string base = directory_ + "/host" + std::to_string(number);
    std::ofstream yaml{base + ".yaml"};
    yaml << "state_dir: " << base << "\nbroker: \"" << endpoint_ << "\"\nhost: host" << number
         << "\n"
         << pool_yaml(wanted_, workers, "");
    yaml.close();
    hosts_.push_back(std::make_unique<Daemon>(
        std::vector<std::string>{binary("forkmill-worker"), "-c", base + ".yaml"},
        std::vector<std::string>{"CONFORMANCE_DIRECTORY=" + directory_},
        base + ".log"));
    wait_started(base, *hosts_.back());
}

forkmill::PoolOptions Cluster::options() const {
    forkmill::PoolOptions options;
    if (size_ != Size::E) {
        options.endpoint = endpoint_;
        return options;
    }
    ::setenv("CONFORMANCE_DIRECTORY", directory_.c_str(), 1);
    options.workers = wanted_.workers;
    options.threads = wanted_.threads;
    options.tasks = all_tasks();
    if (wanted_.max_tasks_per_child != 0) options.max_tasks_per_child = wanted_.max_tasks_per_child;
    if (!wanted_.initializer.empty()) options.initializer = make_initializer(wanted_.initializer);
    return options;
}

std::string Cluster::shut_down() {
    std::string wrong;
    const auto stop = [&](Daemon& daemon, const std::string& name) {
        if (!daemon.running()) return;  // The case ended it itself and judged how.
        daemon.signal(SIGTERM);
        const int code = daemon.wait_exit(20);
        if (code != 0)
            wrong +=
                name + " ended with " + std::to_string(code) + " on TERM:\n" + daemon.log() + "\n";
    };
    for (std::size_t i = 0; i < hosts_.size(); ++i)
        stop(*hosts_[i], "worker host " + std::to_string(i + 1));
    if (broker_) stop(*broker_, "forkmilld");
    return wrong;
}

Cluster::~Cluster() {
    const std::string wrong = shut_down();
    if (!wrong.empty()) ADD_FAILURE() << wrong;
    // Nothing that was started for this case may live on: every process of ours carries the
    // directory in its environment.
    const auto leftover = [&] {
        std::string found;
        for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
            const std::string name = entry.path().filename();
            if (name.find_first_not_of("0123456789") != std::string::npos ||
                std::stol(name) == ::getpid())
                continue;
            std::ifstream environment{entry.path() / "environ", std::ios::binary};
            const std::string text{std::istreambuf_iterator<char>{environment}, {}};
            if (text.find(directory_) != std::string::npos &&
                process_exists(static_cast<pid_t>(std::stol(name))))
                found += " " + name;
        }
        return found;
    };
    if (size_ == Size::E) {
        // Every process of an embedded pool is our child or, orphaned, adopted by us (main.cc makes
        // us the subreaper).
        const auto no_child = [] {
            return ::waitid(P_ALL, 0, nullptr, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
        };
        if (!wait_until(3, no_child))
            ADD_FAILURE() << "the embedded pool left a process or a zombie behind";
    } else {
        wait_until(3, [] {
            while (::waitpid(-1, nullptr, WNOHANG) > 0) {
            }
            return errno == ECHILD;
        });
    }
    std::string left;
    if (!wait_until(3, [&] { return (left = leftover()).empty(); }))
        ADD_FAILURE() << "processes left behind:" << left;
    if (::testing::Test::HasFailure()) {
        if (broker_) std::fprintf(stderr, "--- forkmilld\n%s\n", broker_->log().c_str());
        for (auto& host : hosts_)
            std::fprintf(stderr, "--- worker host\n%s\n", host->log().c_str());
    }
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
}

void expect_alive(forkmill::Pool& pool) {
    std::vector<int> inputs(100);
    for (int i = 0; i < 100; ++i) inputs[static_cast<std::size_t>(i)] = i;
    const std::vector<int> results = pool.map(square, inputs);
    ASSERT_EQ(results.size(), 100U);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)], i * i);
}

namespace {

class CaseTest : public ::testing::Test {
  public:
    CaseTest(Case body, Size size) : body_(body), size_(size) {}
    void TestBody() override { body_(size_); }

  private:
    Case body_;
    Size size_;
};

}  // namespace

int add_case(const char* id,
             const char* what,
             const char* sizes,
             Case body,
             const char* file,
             int line) {
    for (const char* s = sizes; *s != '\0'; ++s) {
        const Size size = *s == 'E' ? Size::E : *s == 'I' ? Size::I : Size::T;
        const std::string name = std::string{id} + "_" + *s + "_" + what;
        ::testing::RegisterTest(
            "Conformance",
            name.c_str(),
            nullptr,
            nullptr,
            file,
            line,
            [body, size]() -> ::testing::Test* { return new CaseTest(body, size); });
    }
    return 0;
}

}  // namespace conformance
