// SPDX-License-Identifier: Apache-2.0
// Site: the fixture of the end-to-end tests: a directory, the daemons of one case, and what must
// hold when it ends.
//
// Invariants, checked in TearDown: every daemon ended with the code expected of it, no process and
// no zombie is left, and no socket or pid file lies in the directory. Threading: one owner.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace forkmill::e2e {

inline constexpr std::chrono::seconds kLimit{20};

/// A port of 127.0.0.1 that nobody uses now.
int free_port();
/// Somebody listens there.
bool accepts(int port);
std::vector<int> numbers_in(const std::filesystem::path& file);

/// Tasks wait at it while it is shut (tasks.h).
class Gate {
  public:
    explicit Gate(const std::filesystem::path& file);
    ~Gate() { open(); }
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;
    void shut();
    void open();
    const std::string& name() const { return name_; }

  private:
    std::string name_;
    int fd_ = -1;
};

/// What a started program is to end with, and where it writes.
struct Daemon {
    std::string name;
    std::unique_ptr<test::Program> program;
    std::filesystem::path log;
    int expected_code = 0;
};

struct BrokerWanted {
    std::string listen = {};  ///< "a, b"; empty: ipc() of the site.
    int workers = 2;          ///< 0: no pool; workers come from elsewhere.
    int threads = 1;
    std::string executable = {};  ///< Empty: this test program; stock: forkmill-worker.
    std::string pool = {};        ///< Further keys of the pool, "key: value\n" each.
    std::string yaml = {};        ///< Further keys of the file.
};

class Site : public testing::Test {
  protected:
    void TearDown() override;

    std::string ipc() const { return "ipc://" + (directory_ / "broker.sock").string(); }
    /// Starts forkmilld and waits until its master listens to signals.
    Daemon& start_broker(const BrokerWanted& wanted = {});
    /// The config that start_broker() starts with, for a broker that runs already.
    std::filesystem::path write_broker_config(const BrokerWanted& wanted);
    /// Starts a worker host of this program's tasks.
    Daemon& start_host(const std::string& broker,
                       int workers,
                       const std::string& yaml = {},
                       std::vector<std::string> wrapper = {});
    Daemon& start(const std::string& name,
                  std::vector<std::string> argv,
                  const std::vector<std::string>& environment = {});
    /// Runs a program to its end; what it printed goes to `output`.
    int run(std::vector<std::string> argv, std::string& output, const std::string& folder = {});
    /// Ends a daemon on TERM now, not in TearDown.
    void stop(Daemon& daemon);
    /// The test kills it itself.
    void kill(Daemon& daemon);

    test::TempDir directory_;
    std::vector<std::unique_ptr<Daemon>> daemons_;

  private:
    int outputs_ = 0;
    std::set<std::string> may_leave_;  ///< Daemons that could not tidy up, being killed.
};

/// The router of a forkmilld; 0: there is none now.
pid_t router_of(const Daemon& broker);
/// Path of this program.
std::string own_program();

}  // namespace forkmill::e2e
