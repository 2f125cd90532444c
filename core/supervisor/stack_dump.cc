// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/stack_dump.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

// Present when the program was built with such a sanitizer.
// NOLINTNEXTLINE(bugprone-reserved-identifier): its name is not ours.
extern "C" void __asan_init() __attribute__((weak));
// NOLINTNEXTLINE(bugprone-reserved-identifier): its name is not ours.
extern "C" void __tsan_init() __attribute__((weak));

namespace forkmill::supervisor {

namespace {

constexpr std::size_t kCrashStackSize = 64 * 1024;  ///< Beside what the kernel puts there.
constexpr std::size_t kSymbolMax = 1024;            ///< Longer names are left out.
constexpr std::size_t kFileMax = 128;
constexpr int kFramesRead = kFramesMax + 16;  ///< The handler's own come first.

// What a request to write a stack is for, sent along with its signal.
constexpr int kForOthers = 0;     ///< A report of all threads: those that run no tasks …
constexpr int kForTasks = 1;      ///< … and those that do.
constexpr int kFirstRequest = 2;  ///< From here on a dump_thread().

/// All of it is written to by handlers, so all of it is atomic or set before them.
struct State {
    std::atomic<pid_t> owner{0};     ///< The process that reports; its forks do not.
    std::atomic<pid_t> reporter{0};  ///< The thread that crashed first.
    std::atomic<int> fatal{0};       ///< Its signal.
    std::array<std::atomic<std::uint32_t>, 2> unanswered{};  ///< By kForOthers and kForTasks.
    std::array<std::atomic<pid_t>, kTaskThreadsMax> task_threads{};
    std::atomic<std::uint32_t> request{0};  ///< Of dump_thread(): its number and its phase.
    std::array<char, 255> head{};
    std::size_t head_size = 0;
};
constinit State state;

// Not SIGRTMAX, which is the parent's death (last_will.cc).
int dump_signal() {
    return SIGRTMAX - 1;
}

pid_t own_tid() {
    return static_cast<pid_t>(::syscall(SYS_gettid));
}

/// Async-signal-safe. Gives up when stderr takes nothing, rather than hang in a dying process.
void write_out(const char* bytes, std::size_t size) {
    constexpr int kStuckMs = 100;
    while (size > 0) {
        const ssize_t written = ::write(STDERR_FILENO, bytes, size);
        if (written > 0) {
            bytes += written;
            size -= static_cast<std::size_t>(written);
            continue;
        }
        pollfd stderr_poll{STDERR_FILENO, POLLOUT, 0};
        if (written < 0 && errno == EINTR) continue;
        if (written == 0 || errno != EAGAIN || ::poll(&stderr_poll, 1, kStuckMs) <= 0) return;
    }
}

/// A text without an allocation. It leaves in whole lines and, up to PIPE_BUF, in one piece, so
/// that threads that write at the same time do not mix theirs.
class Block {
  public:
    Block() = default;
    /// Not to stderr but to the end of a text; then it does allocate.
    explicit Block(std::string& text) : text_(&text) {}

    /// Before a line: room for all of it.
    void begin_line(std::size_t size) {
        if (size_ + size > bytes_.size()) flush();
    }
    void add(std::string_view text) {
        const std::size_t size = std::min(text.size(), bytes_.size() - size_);
        std::memcpy(bytes_.data() + size_, text.data(), size);
        size_ += size;
    }
    void add_number(std::uint64_t value, unsigned radix = 10) {
        std::array<char, 20> digits;
        std::size_t at = digits.size();
        do {
            digits[--at] = "0123456789abcdef"[value % radix];
            value /= radix;
        } while (value != 0);
        add({digits.data() + at, digits.size() - at});
    }
    void add_hex(std::uintptr_t value) {
        add("0x");
        add_number(value, 16);
    }
    void flush() {
        const std::size_t size = std::exchange(size_, 0);
        if (text_ != nullptr)
            text_->append(bytes_.data(), size);
        else
            write_out(bytes_.data(), size);
    }

  private:
    std::string* text_ = nullptr;
    std::array<char, PIPE_BUF> bytes_;
    std::size_t size_ = 0;
};

struct Place {
    std::string_view symbol;
    std::uintptr_t symbol_at = 0;
    std::string_view file;
    std::uintptr_t file_at = 0;
    bool known = false;
};

/// dladdr1 takes the loader's lock, so it is not async-signal-safe: it hangs when another thread
/// stopped inside dlopen. The process is dying then, or being asked by one that does not wait for
/// long, and names are worth that: kReportLimit and the master's KILL bound it.
Place place_of(std::uintptr_t address) {
    Dl_info info{};
    link_map* module = nullptr;
    Place place;
    if (address == 0 || ::dladdr1(reinterpret_cast<void*>(address),
                                  &info,
                                  reinterpret_cast<void**>(&module),
                                  RTLD_DL_LINKMAP) == 0)
        return place;
    place.known = true;
    if (info.dli_sname != nullptr) place.symbol = info.dli_sname;
    if (place.symbol.size() > kSymbolMax) place.symbol = {};
    place.symbol_at = reinterpret_cast<std::uintptr_t>(info.dli_saddr);
    if (info.dli_fname != nullptr) place.file = info.dli_fname;
    place.file = place.file.substr(place.file.rfind('/') + 1).substr(0, kFileMax);
    // Not where the file was mapped: for addr2line a program at a fixed address begins at 0.
    place.file_at = module == nullptr ? 0 : module->l_addr;
    return place;
}

void add_frame(Block& out, int number, std::uintptr_t address) {
    const Place place = place_of(address);
    out.begin_line(place.symbol.size() + place.file.size() + 128);
    out.add(kFrameMark);
    out.add_number(static_cast<std::uint64_t>(number));
    out.add(" ");
    if (!place.known) {
        out.add_hex(address);
    } else {
        if (!place.symbol.empty()) {
            out.add(place.symbol);
            out.add("+");
            out.add_hex(address - place.symbol_at);
            out.add(" ");
        }
        out.add("(");
        out.add(place.file.empty() ? "program" : place.file);
        out.add("+");
        out.add_hex(address - place.file_at);
        out.add(")");
    }
    out.add("\n");
}

std::uintptr_t program_counter(const ucontext_t& context) {
#if defined(__x86_64__)
    return static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
    return context.uc_mcontext.pc;
#else
    static_cast<void>(context);
    return 0;
#endif
}

/// Who jumped to where no code is; 0: unknown. Read through the kernel, which does not crash when
/// the stack is no stack.
std::uintptr_t caller_of_nowhere(const ucontext_t& context) {
    std::uintptr_t caller = 0;
#if defined(__x86_64__)
    iovec to{&caller, sizeof caller};
    iovec from{reinterpret_cast<void*>(context.uc_mcontext.gregs[REG_RSP]), sizeof caller};
    if (::process_vm_readv(::getpid(), &to, 1, &from, 1, 0) != sizeof caller) return 0;
#elif defined(__aarch64__)
    caller = context.uc_mcontext.regs[30];
#else
    static_cast<void>(context);
#endif
    return caller;
}

/// The frames that the signal interrupted. Those of the handler and the signal's trampoline lie
/// before the interrupted instruction.
void add_stack(Block& out, const ucontext_t& context) {
    std::array<void*, kFramesRead> found;
    const auto count = static_cast<std::size_t>(::backtrace(found.data(), kFramesRead));
    const std::uintptr_t stopped_at = program_counter(context);
    const auto address = [&](std::size_t i) { return reinterpret_cast<std::uintptr_t>(found[i]); };
    std::size_t next = 0;
    while (next < count && address(next) != stopped_at) ++next;
    int number = 0;
    add_frame(out, number++, stopped_at);
    if (next == count) {
        const std::uintptr_t caller = caller_of_nowhere(context);
        if (place_of(caller).known) add_frame(out, number, caller - 1);
        return;
    }
    // A return address may be the next function's: one less belongs to the call.
    for (++next; next < count && number < kFramesMax && address(next) != 0; ++next)
        add_frame(out, number++, address(next) - 1);
}

void add_thread(Block& out, const ucontext_t& context) {
    std::array<char, 17> name{};
    ::prctl(PR_GET_NAME, name.data());
    out.begin_line(128);
    out.add(kThreadHead);
    out.add_number(static_cast<std::uint64_t>(own_tid()));
    out.add(" (");
    out.add(name.data());
    out.add(")\n");
    add_stack(out, context);
}

void wake(std::atomic<std::uint32_t>& word) {
    ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

/// Async-signal-safe: until `is_over` of the word's value, for at most `limit`.
template <class IsOver>
bool wait_for(std::atomic<std::uint32_t>& word, base::Duration limit, IsOver is_over) {
    const base::Time end = base::monotonic_now() + limit;
    for (;;) {
        const std::uint32_t seen = word.load(std::memory_order_acquire);
        if (is_over(seen)) return true;
        const auto left =
            std::chrono::duration_cast<std::chrono::nanoseconds>(end - base::monotonic_now());
        if (left.count() <= 0) return false;
        const timespec wait{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
        ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, &wait, nullptr, 0);
    }
}

bool ask_thread(pid_t tid, int what) {
    siginfo_t info{};
    info.si_signo = dump_signal();
    info.si_code = SI_QUEUE;
    info.si_pid = ::getpid();
    info.si_uid = ::getuid();
    info.si_value.sival_int = what;
    return ::syscall(SYS_rt_tgsigqueueinfo, ::getpid(), tid, dump_signal(), &info) == 0;
}

bool runs_tasks(pid_t tid) {
    return std::any_of(state.task_threads.begin(), state.task_threads.end(), [&](const auto& one) {
        return one.load(std::memory_order_relaxed) == tid;
    });
}

/// Calls `visit` for every thread of this process. Not opendir, which allocates.
template <class Visit>
void for_each_thread(Visit visit) {
    struct Entry {  // As getdents64 fills it in; its name follows.
        std::uint64_t inode;
        std::int64_t offset;
        std::uint16_t size;
        std::uint8_t type;
    };
    constexpr std::size_t kNameAt = 19;
    const int tasks = ::open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tasks < 0) return;
    std::array<char, 4096> bytes;
    for (;;) {
        const long size = ::syscall(SYS_getdents64, tasks, bytes.data(), bytes.size());
        if (size <= 0) break;
        for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
            Entry entry;
            std::memcpy(&entry, bytes.data() + at, sizeof entry);
            pid_t tid = 0;
            for (const char* c = bytes.data() + at + kNameAt; *c >= '0' && *c <= '9'; ++c)
                tid = tid * 10 + (*c - '0');
            if (tid > 0) visit(tid);
            at += entry.size;
        }
    }
    ::close(tasks);
}

/// Has all other threads of a kind write their stacks, all at once: some block every signal, and
/// only one limit is waited out for all of these.
void dump_others(int what) {
    const pid_t self = own_tid();
    std::atomic<std::uint32_t>& unanswered = state.unanswered[static_cast<std::size_t>(what)];
    for_each_thread([&](pid_t tid) {
        if (tid == self || runs_tasks(tid) != (what == kForTasks)) return;
        unanswered.fetch_add(1);
        if (!ask_thread(tid, what)) unanswered.fetch_sub(1);
    });
    wait_for(unanswered, kThreadsAnswer, [](std::uint32_t left) { return left == 0; });
}

// A request's number with its phase in the lowest two bits.
enum Phase : std::uint32_t { kAsked = 0, kWriting = 1, kWritten = 2, kWithdrawn = 3 };
constexpr std::uint32_t request_of(int number, Phase phase) {
    return static_cast<std::uint32_t>(number) << 2 | phase;
}
constexpr Phase phase_of(std::uint32_t request) {
    return static_cast<Phase>(request & 3);
}

/// Of dump_thread(), in the thread that was asked.
void answer_request(int number, const ucontext_t& context) {
    std::uint32_t asked = request_of(number, kAsked);
    if (!state.request.compare_exchange_strong(asked, request_of(number, kWriting))) return;
    Block out;
    out.add({state.head.data(), state.head_size});
    out.add("\n");
    add_stack(out, context);
    out.flush();
    state.request.store(request_of(number, kWritten), std::memory_order_release);
    wake(state.request);
}

void on_dump(int, siginfo_t* info, void* context) {
    if (info->si_code != SI_QUEUE || info->si_pid != ::getpid()) return;
    const int saved_errno = errno;
    const auto& stopped = *static_cast<const ucontext_t*>(context);
    const int what = info->si_value.sival_int;
    if (what >= kFirstRequest) {
        answer_request(what, stopped);
    } else if (what >= 0) {
        Block out;
        add_thread(out, stopped);
        out.flush();
        std::atomic<std::uint32_t>& unanswered = state.unanswered[static_cast<std::size_t>(what)];
        if (unanswered.fetch_sub(1) == 1) wake(unanswered);
    }
    errno = saved_errno;
}

void set_default(int signo) {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    ::sigaction(signo, &action, nullptr);
}

/// A report hangs, on the loader's lock or on stderr: it ends here.
void on_overdue(int) {
    const int signo = state.fatal.load();
    set_default(signo);
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, signo);
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    ::syscall(SYS_tgkill, ::getpid(), own_tid(), signo);
}

void bound_report() {
    struct sigaction action {};
    action.sa_handler = on_overdue;
    ::sigfillset(&action.sa_mask);
    ::sigaction(SIGALRM, &action, nullptr);
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGALRM);
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    ::alarm(static_cast<unsigned>(kReportLimit.count()));
}

void add_head(Block& out, int signo, const siginfo_t& info, bool from_outside) {
    out.add(kCrashedBy);
    out.add("SIG");
    const char* name = ::sigabbrev_np(signo);
    out.add(name == nullptr ? "?" : name);
    if (from_outside) {
        out.add(" sent by process ");
        out.add_number(static_cast<std::uint64_t>(info.si_pid));
    } else if (info.si_code > 0) {
        out.add(" at address ");
        out.add_hex(reinterpret_cast<std::uintptr_t>(info.si_addr));
    }
    out.add(" in thread ");
    out.add_number(static_cast<std::uint64_t>(own_tid()));
    out.add("\n");
}

void report(int signo, const siginfo_t& info, const ucontext_t& context) {
    const bool from_outside = info.si_code <= 0 && info.si_pid != ::getpid();
    const bool all_threads = signo == SIGABRT && from_outside;
    Block out;
    if (!all_threads) {
        add_head(out, signo, info, from_outside);
        add_stack(out, context);
        return out.flush();
    }
    // The master keeps the end of it all: what the tasks did comes after the head, what the
    // threads around them did before it, and this one, which the signal chose, last.
    dump_others(kForOthers);
    add_head(out, signo, info, from_outside);
    out.flush();
    dump_others(kForTasks);
    add_thread(out, context);
    out.flush();
}

void on_fatal(int signo, siginfo_t* info, void* context) {
    const int saved_errno = errno;
    // In a fork of the worker, made by a task, the report would look like the worker's own.
    if (::getpid() == state.owner.load(std::memory_order_relaxed)) {
        pid_t nobody = 0;
        if (!state.reporter.compare_exchange_strong(nobody, own_tid()))
            for (;;) ::pause();  // The thread that crashed first ends the process.
        state.fatal.store(signo);
        bound_report();
        report(signo, *info, *static_cast<const ucontext_t*>(context));
    }
    // It waits until this handler has returned, and then kills where the crash was, with what the
    // kernel said of it: that is what a core dump should show.
    set_default(signo);
    if (::syscall(SYS_rt_tgsigqueueinfo, ::getpid(), own_tid(), signo, info) != 0)
        ::syscall(SYS_tgkill, ::getpid(), own_tid(), signo);
    errno = saved_errno;
}

bool is_taken(int signo) {
    struct sigaction now {};
    ::sigaction(signo, nullptr, &now);
    return (now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL;
}

void install(int signo) {
    if (is_taken(signo)) return;
    struct sigaction action {};
    action.sa_sigaction = on_fatal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    // No SA_RESETHAND: a second thread that crashes would end the report of the first. A fault in
    // the handler kills at once, since its signal is blocked.
    ::sigfillset(&action.sa_mask);
    ::sigdelset(&action.sa_mask, SIGALRM);
    ::sigdelset(&action.sa_mask, SIGRTMAX);
    ::sigaction(signo, &action, nullptr);
}

std::size_t crash_stack_size() {
    const long kernel = ::sysconf(_SC_MINSIGSTKSZ);
    const std::size_t size = kCrashStackSize + static_cast<std::size_t>(std::max(kernel, 0L));
    constexpr std::size_t kPage = 4096;
    return (size + kPage - 1) / kPage * kPage;
}

/// Null when there is no memory, or when the thread has such a stack already: a sanitizer gives
/// every thread one and frees what it then finds there.
void* take_crash_stack() {
    stack_t now{};
    if (::sigaltstack(nullptr, &now) != 0 || (now.ss_flags & SS_DISABLE) == 0) return nullptr;
    const std::size_t size = crash_stack_size();
    void* memory = ::mmap(
        nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    const stack_t stack{memory, 0, size};
    if (::sigaltstack(&stack, nullptr) == 0) return memory;
    ::munmap(memory, size);
    return nullptr;
}

}  // namespace

void install_crash_dump() {
    if (state.owner.exchange(::getpid()) == ::getpid()) return;
    // A worker that is a fork of a worker has none of its task threads.
    for (std::atomic<pid_t>& thread : state.task_threads) thread.store(0);
    // For the life of the process, on whichever thread this is.
    static_cast<void>(take_crash_stack());
    // What these load and bind at their first call they would allocate in a handler.
    std::array<void*, 4> warm;
    const int count = ::backtrace(warm.data(), static_cast<int>(warm.size()));
    if (count > 0) static_cast<void>(place_of(reinterpret_cast<std::uintptr_t>(warm[0])));
    const bool sanitized = &__asan_init != nullptr || &__tsan_init != nullptr;
    if (!sanitized)
        for (const int signo : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) install(signo);
    install(SIGABRT);
    if (is_taken(dump_signal())) return;
    struct sigaction action {};
    action.sa_sigaction = on_dump;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    ::sigaction(dump_signal(), &action, nullptr);
}

CrashStack::CrashStack() : memory_(take_crash_stack()) {
    for (place_ = 0; place_ < kTaskThreadsMax; ++place_) {
        pid_t nobody = 0;
        if (state.task_threads[place_].compare_exchange_strong(nobody, own_tid())) return;
    }
}

CrashStack::~CrashStack() {
    if (place_ < kTaskThreadsMax) state.task_threads[place_].store(0);
    if (memory_ == nullptr) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    ::sigaltstack(&none, nullptr);
    ::munmap(memory_, crash_stack_size());
}

bool dump_thread(pid_t tid, std::string_view head, base::Duration limit) {
    static std::mutex asking;
    static int number = kFirstRequest;
    struct sigaction action {};
    const std::lock_guard lock{asking};
    ::sigaction(dump_signal(), nullptr, &action);
    // Without our handler the signal would kill.
    if ((action.sa_flags & SA_SIGINFO) == 0 || action.sa_sigaction != on_dump) return false;
    std::uint32_t last = state.request.load();
    if (phase_of(last) == kWriting) return false;
    // What was asked before and not begun is withdrawn: its thread may be dead.
    const int mine = number;
    number = number == INT_MAX / 4 ? kFirstRequest : number + 1;
    if (!state.request.compare_exchange_strong(last, request_of(mine, kWithdrawn))) return false;
    state.head_size = std::min(head.size(), state.head.size());
    std::memcpy(state.head.data(), head.data(), state.head_size);
    state.request.store(request_of(mine, kAsked), std::memory_order_release);
    if (!ask_thread(tid, mine)) return false;
    return wait_for(
        state.request, limit, [&](std::uint32_t now) { return now == request_of(mine, kWritten); });
}

std::string own_stack(std::string_view above) {
    std::array<void*, kFramesRead> found;
    const auto count = static_cast<std::size_t>(::backtrace(found.data(), kFramesRead));
    // A return address may be the next function's: one less belongs to the call.
    const auto call = [&](std::size_t i) { return reinterpret_cast<std::uintptr_t>(found[i]) - 1; };
    std::size_t first = 0;
    for (std::size_t i = 0; i < count; ++i)
        if (place_of(call(i)).symbol == above) first = i + 1;
    std::string text;
    Block out{text};
    for (std::size_t i = first; i < count && i < first + kFramesMax && found[i] != nullptr; ++i)
        add_frame(out, static_cast<int>(i - first), call(i));
    out.flush();
    return text;
}

}  // namespace forkmill::supervisor
