// SPDX-License-Identifier: Apache-2.0
// Worker: the main() of a program that runs tasks for a broker.
#pragma once

#include "forkmill/detail/export.h"
#include "forkmill/tasks.h"

namespace forkmill {
inline namespace v0 {

/// Bind tasks, then `return worker.run(argc, argv)` as the last line of main(). Started by hand
/// (`--connect tcp://head:7700`, `-c worker.yaml`) it is the master of a worker host; started by a
/// master (forkmilld's pool `executable`, or itself) it is one worker. Make no thread before.
struct FORKMILL_API Worker {
    Tasks tasks;
    /// Runs before the first task. In a pool with `start: forkserver` it runs once for all workers,
    /// which are forked afterwards: it must leave no thread behind; sockets and pipes that it opens
    /// are /dev/null in the workers, files have one offset for all, and random numbers that it
    /// seeds repeat.
    Initializer initializer;

    /// The process's exit code (sysexits).
    int run(int argc, char** argv);
};

}  // namespace v0
}  // namespace forkmill
