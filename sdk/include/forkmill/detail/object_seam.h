// SPDX-License-Identifier: Apache-2.0
// The seam between the types of shared objects and the library: bytes and numbers only.
//
// Nothing in namespace detail is promised to users. A Shared is one object as this process has it:
// all copies of a handle share it, and the broker counts it as one handle. An Ask is one operation
// under way. Threading: all functions are thread-safe; an Ask belongs to one thread at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "forkmill/detail/seam.h"

namespace forkmill {
inline namespace v0 {

class Pool;

namespace detail {

class Shared;
using SharedPtr = std::shared_ptr<Shared>;
class Ask;
using AskPtr = std::shared_ptr<Ask>;

// The numbers of docs/protocol.md §17; object_port.cc checks that they are those of core/wire.
enum class ObjectKind : std::uint8_t {
    Queue = 1,
    Lock,
    Semaphore,
    Condition,
    Event,
    Barrier,
    Dict,
    List,
    Array,
};
enum class Verb : std::uint8_t {
    Open = 1,
    Close,
    Remove,
    Info,
    Put,
    Get,
    Done,
    Join,
    Shut,
    Acquire,
    Release,
    Wait,
    Notify,
    Reset,
    Abort,
    Read,
    Write,
    Erase,
    Swap,
    Add,
    Watch,
    Unwatch,
    Interrupt,
    Break,
};
enum Flag : std::uint32_t {
    kCreate = 1 << 0,
    kExclusive = 1 << 1,
    kPersistent = 1 << 2,
    kLeased = 1 << 3,
    kEnds = 1 << 4,
    kReader = 1 << 5,
    kWriter = 1 << 6,
    kReentrant = 1 << 7,
    kAction = 1 << 8,
    kTask = 1 << 9,
    kAll = 1 << 10,
    kKeysOnly = 1 << 11,
    kIfAbsent = 1 << 12,
    kIfVersion = 1 << 13,
    kIfEqual = 1 << 14,
    kOld = 1 << 15,
};
inline constexpr std::uint32_t kAnswerSet = 1 << 4;
inline constexpr std::int64_t kEndOfList = INT64_MAX;
inline constexpr std::size_t kItemsMax = 512;  ///< Of one operation.
enum class Cell : std::uint8_t { Opaque = 0, Signed = 1, Unsigned = 2, Real = 3 };

/// A value on its way out, with the objects that it names.
struct Item {
    Buffer key = {};
    Buffer body = {};
    std::vector<std::uint64_t> refs = {};
};
struct Request {
    Verb verb{};
    std::uint32_t flags = 0;
    Duration timeout = forever;
    std::uint64_t token = 0;
    std::uint64_t version = 0;
    std::int64_t index = 0;
    std::uint64_t count = 0;
    std::vector<Item> items = {};
};
/// What is opened, and how it is made if it is.
struct Opening {
    ObjectKind kind{};
    std::uint32_t flags = 0;
    std::string name = {};
    std::string type = {};
    std::uint64_t capacity = 0;
    std::uint64_t bytes = 0;
    std::uint64_t initial = 0;
    Cell cell = Cell::Opaque;
    SharedPtr lock = {};  ///< Of a condition.
    std::vector<Item> items = {};
};

/// How an operation ended, as far as callers tell it apart without an exception.
enum class Told : std::uint8_t { Done, TimedOut, Changed, Absent, TooBig, Refused };
struct ItemView {
    Bytes key;
    Bytes body;
};
/// Lives as long as its Ask.
struct Answer {
    Told told = Told::Done;
    std::int64_t value = 0;
    std::uint64_t count = 0;
    std::uint64_t token = 0;
    std::uint64_t version = 0;
    std::uint32_t flags = 0;
    std::vector<ItemView> items = {};
};

/// Opens and waits for it. Throws NotFound, TypeMismatch, UsageError, …
FORKMILL_API SharedPtr open_object(Pool& pool, Opening opening);
/// A handle that came in bytes: adopted from the answer that is being unpacked, else opened by id
/// in the session whose bytes these are.
FORKMILL_API SharedPtr object_arrived(std::uint64_t id,
                                      ObjectKind kind,
                                      std::string_view type,
                                      std::uint32_t role);
/// Its id for bytes that leave; the item that is being packed names it from now on.
FORKMILL_API std::uint64_t object_leaves(const SharedPtr& object);
FORKMILL_API std::uint64_t id_of(const SharedPtr& object);
/// Another end of the same queue in this process.
FORKMILL_API SharedPtr open_end(const SharedPtr& object, std::string_view type, std::uint32_t role);

FORKMILL_API AskPtr ask(const SharedPtr& object, Request request);
FORKMILL_API bool answered(const Ask& ask);
/// Waits for the answer; in a task it lends the slot. Throws Disconnected where a timeout was asked
/// for and the broker is silent.
FORKMILL_API const Answer& await_answer(const AskPtr& ask);
/// REQUIRES: answered. Throws what Told::Refused stands for, and the rest as well.
[[noreturn]] FORKMILL_API void throw_refusal(const Ask& ask);
/// Runs on the callback thread or the dispatcher.
FORKMILL_API void then_answered(const AskPtr& ask, std::function<void()> call);
/// Nobody wants the answer any more: what waits is interrupted, what it grants is given back.
FORKMILL_API void abandon(const AskPtr& ask) noexcept;
FORKMILL_API const Answer& answer_of(const Ask& ask);
/// The item that it was asked with.
FORKMILL_API ItemView sent_item(const Ask& ask);

// What answers mean to callers. REQUIRES: answered.
/// Nothing.
FORKMILL_API void finish_done(Ask& ask);
/// False at the timeout.
FORKMILL_API bool finish_in_time(Ask& ask);
/// False: what was named is not there.
FORKMILL_API bool finish_there(Ask& ask);
FORKMILL_API bool finish_flag(Ask& ask);
FORKMILL_API std::size_t finish_count(Ask& ask);

/// While it lives, handles unpacked on this thread are those the answer brought.
class FORKMILL_API Unpacking {
  public:
    explicit Unpacking(Ask& ask);
    ~Unpacking();
    Unpacking(const Unpacking&) = delete;
    Unpacking& operator=(const Unpacking&) = delete;

  private:
    Ask* before_;
};
/// While it lives, handles packed on this thread are noted in `refs`.
class FORKMILL_API Packing {
  public:
    explicit Packing(std::vector<std::uint64_t>& refs);
    ~Packing();
    Packing(const Packing&) = delete;
    Packing& operator=(const Packing&) = delete;

  private:
    std::vector<std::uint64_t>* before_;
};

/// While it lives, handles packed on this thread are kept in `handles`, in their order: for who
/// must see to it that they arrive.
class FORKMILL_API Passing {
  public:
    explicit Passing(std::vector<SharedPtr>& handles);
    ~Passing();
    Passing(const Passing&) = delete;
    Passing& operator=(const Passing&) = delete;

  private:
    std::vector<SharedPtr>* before_;
};

/// A change that a watch tells of.
struct Change {
    bool gone = false;    ///< The object, and the watch with it.
    bool erased = false;  ///< The key.
    bool whole = false;   ///< Something in the object.
    Bytes body;
    Ask* brought = nullptr;  ///< The handles in `body`, as an answer brings them.
};
class WatchState;
using WatchPtr = std::shared_ptr<WatchState>;
FORKMILL_API WatchPtr watch(const SharedPtr& object,
                            Request request,
                            std::function<void(const Change&)> handler);
FORKMILL_API void end_watch(const WatchPtr& watch) noexcept;

// Queues.
/// An item that was received by poll(), or that came after nobody waited for it any more.
FORKMILL_API AskPtr ask_get(const SharedPtr& queue, Duration timeout);
/// An item to come, or word that one is in this process already; finish_poll() keeps it for the
/// next get.
FORKMILL_API AskPtr ask_poll(const SharedPtr& queue, Duration timeout);
FORKMILL_API bool finish_poll(Ask& ask);
/// The caller's oldest item is dealt with.
FORKMILL_API AskPtr ask_done(const SharedPtr& queue);
/// Readable while a get would end at once. Its Shared's.
FORKMILL_API int readable_fd(const SharedPtr& queue);

}  // namespace detail
}  // namespace v0
}  // namespace forkmill
