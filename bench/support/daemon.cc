// SPDX-License-Identifier: Apache-2.0
#include "bench/support/daemon.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace bench {

Daemon::Daemon(const std::string& size, int workers) {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "forkmill-bench-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    endpoint_ = size == "tcp" ? "tcp://127.0.0.1:" + std::to_string(40000 + ::getpid() % 20000)
                              : size + "://" + directory_ + "/broker.sock";
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
    const std::string program = (self.parent_path() / "forkmilld").string();
    const std::string config = directory_ + "/broker.yaml";
    std::ofstream{config} << "state_dir: " << directory_ << "/state\nlisten: [\"" << endpoint_
                          << "\"]\nlog: {level: warning}\n"
                             "limits: {tasks_per_session: 1000000}\n"
                             "pools:\n  default:\n    workers: "
                          << workers << "\n    executable: " << self.string() << "\n";
    pid_ = ::fork();
    if (pid_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        ::execl(program.c_str(), program.c_str(), "-c", config.c_str(), nullptr);
        ::_exit(127);
    }
}

Daemon::~Daemon() {
    if (pid_ > 0) {
        ::kill(pid_, SIGTERM);
        ::waitpid(pid_, nullptr, 0);
    }
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
}

pid_t Daemon::router() const {
    const std::string number = std::to_string(pid_);
    std::ifstream file{"/proc/" + number + "/task/" + number + "/children"};
    pid_t child = 0;
    file >> child;
    return child;
}

bool is_worker() {
    return std::getenv("FORKMILL_CHANNEL_FD") != nullptr;
}

}  // namespace bench
