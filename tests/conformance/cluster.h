// SPDX-License-Identifier: Apache-2.0
// Cluster: what a conformance case runs against, at each size: an embedded pool (E), a daemon over
// ipc (I), a broker with two worker hosts over tcp (T).
//
// The pool wanted by a case (workers, threads, initializer, recycling) goes into PoolOptions at E
// and into YAML at I and T, because there it belongs to the pool. Invariant checked at the end of
// every case: the daemons exit 0 on TERM, nothing they started is left, and their directory holds
// no stray socket.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "forkmill/forkmill.h"

namespace conformance {

enum class Size { E, I, T };
char letter(Size size);

/// The pool a case asks for.
struct Wanted {
    int workers = 3;
    int threads = 1;
    int max_tasks_per_child = 0;         ///< 0: not set.
    std::string initializer = {};        ///< "", "count", "throw" or "throw-until-file".
    std::string extra_broker_yaml = {};  ///< Appended at the top level of broker.yaml.
};

/// A process under test. Its standard error is kept in a file of the cluster's directory.
class Daemon {
  public:
    Daemon(std::vector<std::string> argv,
           std::vector<std::string> environment,
           std::string log_path);
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    pid_t pid() const { return pid_; }
    bool running();
    void signal(int number);
    /// Waits until it ended; −1 if it did not within `seconds`. Exit code, or 128 + signal.
    int wait_exit(double seconds);
    std::string log() const;

  private:
    pid_t pid_ = -1;
    int exit_ = -1;
    std::string log_path_;
};

class Cluster {
  public:
    Cluster(Size size, Wanted wanted = {});
    ~Cluster();
    Cluster(const Cluster&) = delete;
    Cluster& operator=(const Cluster&) = delete;

    Size size() const { return size_; }
    /// Options of a Pool on this cluster; at E they carry the tasks and the wanted pool.
    forkmill::PoolOptions options() const;
    std::string endpoint() const { return endpoint_; }
    std::string directory() const { return directory_; }
    Daemon& broker() { return *broker_; }
    std::vector<std::unique_ptr<Daemon>>& hosts() { return hosts_; }
    /// Ends the daemons and says what is wrong with how they ended; empty: nothing.
    std::string shut_down();

  private:
    void start_broker();
    static void wait_started(const std::string& state, Daemon& daemon);
    void start_host(int number, int workers);

    Size size_;
    Wanted wanted_;
    std::string directory_;
    std::string endpoint_;
    std::unique_ptr<Daemon> broker_;
    std::vector<std::unique_ptr<Daemon>> hosts_;
};

/// Waits until `condition` holds; false after `seconds`.
bool wait_until(double seconds, const std::function<bool()>& condition);
double seconds_since(std::chrono::steady_clock::time_point start);
/// The pool still works: 100 further tasks succeed.
void expect_alive(forkmill::Pool& pool);
bool process_exists(pid_t pid);

using Case = void (*)(Size);
/// Registers the case once per size letter in `sizes`, as Conformance.<id>_<size>_<what>.
int add_case(const char* id,
             const char* what,
             const char* sizes,
             Case body,
             const char* file,
             int line);

}  // namespace conformance

/// CONFORMANCE(P06, MapKeepsInputOrder, "EIT") { … size … }
#define CONFORMANCE(id, what, sizes)                                                             \
    static void conformance_##id##_##what(conformance::Size size);                               \
    static const int registered_##id##_##what =                                                  \
        conformance::add_case(#id, #what, sizes, conformance_##id##_##what, __FILE__, __LINE__); \
    static void conformance_##id##_##what([[maybe_unused]] conformance::Size size)
