// SPDX-License-Identifier: Apache-2.0
// StackDump: a worker that crashes, or hangs and is told to abort, says on stderr where it was.
//
// A crash writes `forkmill: crashed by SIGSEGV at address 0x0 in thread 123` and that thread's
// frames; a SIGABRT from another process (the master's, to a worker that hangs) has every thread
// write its own. A frame is `  #0 NAME+0x1c (FILE+0x1234)`: the nearest exported symbol, if there
// is one, and an address that addr2line takes as it is. Programs export their functions when they
// are linked with -rdynamic, task modules do by default. Invariants: (1) the process still dies of
// the signal, at the place of the crash, within kReportLimit; (2) a report goes to stderr in whole
// lines; (3) who handles such a signal already (a sanitizer, the program itself) keeps it; (4)
// forked copies of the process, which tasks make, die silently as without this. Threading:
// install_crash_dump() before other threads exist, dump_thread() from any thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/time.h"

namespace forkmill::supervisor {

inline constexpr std::chrono::seconds kReportLimit{2};
inline constexpr std::chrono::milliseconds kThreadsAnswer{300};
inline constexpr int kFramesMax = 24;
inline constexpr std::size_t kTaskThreadsMax =
    256;  ///< CrashStacks at once; threads beyond have a stack, and are reported among the others.
inline constexpr std::string_view kCrashedBy = "forkmill: crashed by ";
inline constexpr std::string_view kThreadHead = "forkmill: thread ";
inline constexpr std::string_view kFrameMark = "  #";

/// Makes this process report its crashes, and gives the calling thread a stack to do it on.
void install_crash_dump();

/// A stack for the handlers of the thread that makes it, which can then report the overflow of its
/// own. It marks the thread as one that runs tasks: what these did is the end of a report, which is
/// what the master keeps. Belongs to the thread that made it.
class CrashStack {
  public:
    CrashStack();
    ~CrashStack();
    CrashStack(const CrashStack&) = delete;
    CrashStack& operator=(const CrashStack&) = delete;

  private:
    void* memory_ = nullptr;  ///< Null: the thread had such a stack already.
    std::size_t place_ = kTaskThreadsMax;
};

/// Has a thread of this process write `head` (a line without its end, cut to 255 bytes) and its
/// stack to stderr, and go on; a system call it waits in is restarted where the kernel allows it
/// (signal(7): sleeps and polls are not). True when it was written within `limit`; with limit 0
/// nobody waits for it. False too when a report is being written just now.
bool dump_thread(pid_t tid, std::string_view head, base::Duration limit = kThreadsAnswer);

/// The calling thread's frames as lines of a report, from the caller of the outermost function
/// whose symbol is `above`; all of them when there is none. Not for signal handlers.
std::string own_stack(std::string_view above);

}  // namespace forkmill::supervisor
