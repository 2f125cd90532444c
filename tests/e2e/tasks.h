// SPDX-License-Identifier: Apache-2.0
// The tasks of the end-to-end tests: the contract. The test program brings their code to every
// worker itself (main.cc).
#pragma once

#include <cstdint>
#include <string>

#include "forkmill/forkmill.h"

namespace forkmill::e2e {

/// Notes its number in a file and gives it back.
inline constexpr Task<"e2e.mark", int(std::string, int)> mark;
/// The same; the note comes first, then it waits until nobody holds the gate (see Gate).
inline constexpr Task<"e2e.pass", int(std::string, std::string, int)> pass;
/// Notes its process in a file and waits at the gate, the first attempt; a later one does not wait.
/// Gives back the attempt's number.
inline constexpr Task<"e2e.first_waits", int(std::string, std::string)> first_waits;
/// Runs /bin/sleep as a child of its worker, notes the child in a file and waits for it.
inline constexpr Task<"e2e.start_child", int(std::string)> start_child;
/// Ignores every request to stop, for so many milliseconds; notes its process first.
inline constexpr Task<"e2e.deaf", int(std::string, int)> deaf;
/// Aborts, after a word on stderr.
inline constexpr Task<"e2e.crash", int()> crash;
inline constexpr Task<"e2e.pid", int()> pid;
inline constexpr Task<"e2e.host", std::string()> host;
inline constexpr Task<"e2e.echo", std::string(std::string)> echo;

inline constexpr Task<"e2e.text", std::string(std::size_t)> text;
/// Ends its worker: exit0, exit3, abort, terminate, segv, stack or bad_free.
inline constexpr Task<"e2e.end_by", int(std::string)> end_by;
/// Stops its worker's I/O thread for good, notes its process and waits.
inline constexpr Task<"e2e.freeze", int(std::string)> freeze;
/// Blocks every signal it can, notes its process and runs on for so many milliseconds.
inline constexpr Task<"e2e.stubborn", int(std::string, int)> stubborn;
/// Runs until it is asked to stop; gives back what it has.
inline constexpr Task<"e2e.partial", std::string()> partial;
/// Takes so many MiB of memory for good, notes its process and waits at the gate.
inline constexpr Task<"e2e.grab", int(std::string, std::string, int)> grab;
/// Leaves a process behind that is in a session of its own and keeps all that its worker had open;
/// notes it and waits at the gate.
inline constexpr Task<"e2e.escape", int(std::string, std::string)> escape;
/// Leaves that many children behind, whose parents ended before them; each lives a moment.
inline constexpr Task<"e2e.leave_orphans", int(int)> leave_orphans;
/// Notes its process, waits at the gate, says so on stderr and notes its process once more.
inline constexpr Task<"e2e.twice", int(std::string, std::string)> twice;
/// Leaves a /bin/sleep behind that has a session of its own; gives back its process.
inline constexpr Task<"e2e.start_daemon", int()> start_daemon;
/// Throws a runtime_error with so long a text.
inline constexpr Task<"e2e.throw_text", int(std::size_t)> throw_text;

struct Box {
    int width = 0;
    int height = 1;
    FORKMILL_FIELDS(width, height)
};
/// Gives back the box, grown by one each way.
inline constexpr Task<"e2e.grow", Box(Box)> grow;

Tasks all_tasks();

/// The process that ran the initializer "note_and_thrive".
inline constexpr Task<"e2e.inheritance", int()> inheritance;

/// What E2E_INITIALIZER asks for: exit78, throw, hang, thread (leaves one running), "throw_while
/// FILE" (exists), "wait_at GATE" or "note_and_thrive FILE" (adds its process to the file, throws
/// while FILE.bad exists); empty: none.
Initializer asked_initializer();

}  // namespace forkmill::e2e
