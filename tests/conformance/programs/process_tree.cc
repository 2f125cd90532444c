// SPDX-License-Identifier: Apache-2.0
// A program with processes of its own, for what becomes of them when it ends.
//
//     process_tree exit DIRECTORY    a daemon, one that ignores SIGTERM, and a worker that waits
//     for
//                                    DIRECTORY/go and writes DIRECTORY/done; then main returns
//     process_tree tree DIRECTORY    a process that starts one that starts one; then all wait
//
// Each process writes its pid to DIRECTORY/NAME.
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "forkmill/forkmill.h"

namespace {

void write_file(const std::string& path, const std::string& text) {
    const std::string draft = path + "." + std::to_string(::getpid());
    std::ofstream{draft} << text;
    std::filesystem::rename(draft, path);
}

void say_pid(const std::string& directory, const std::string& name) {
    write_file(directory + "/" + name, std::to_string(::getpid()));
}

void wait_for_ever() {
    for (;;) ::pause();
}

void linger(const std::string& directory, const std::string& name, bool deaf) {
    if (deaf) ::signal(SIGTERM, SIG_IGN);
    say_pid(directory, name);
    wait_for_ever();
}

void work(const std::string& directory) {
    say_pid(directory, "worker");
    // A minute at most: a test that is gone says nothing any more.
    for (int looks = 0; looks < 30'000 && !std::filesystem::exists(directory + "/go"); ++looks)
        std::this_thread::sleep_for(std::chrono::milliseconds{2});
    write_file(directory + "/done", "done");
}

void grow(const std::string& directory, int depth) {
    if (depth > 0) forkmill::Process{grow, directory, depth - 1}.start();
    say_pid(directory, forkmill::current_process().name);
    wait_for_ever();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 64;
    const std::string mode = argv[1];
    const std::string directory = argv[2];
    if (mode == "tree") {
        forkmill::Process{grow, directory, 2}.start();
        wait_for_ever();
    }
    forkmill::Process{{.daemon = true}, linger, directory, "daemon", false}.start();
    forkmill::Process{{.daemon = true}, linger, directory, "deaf", true}.start();
    forkmill::Process{work, directory}.start();
    say_pid(directory, "program");
    return 0;
}
