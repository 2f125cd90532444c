// SPDX-License-Identifier: Apache-2.0
// What may be said, in numbers (semantics.md 22-24). Both ends use the same constants;
// docs/protocol.md quotes them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace forkmill::wire {

inline constexpr std::uint8_t kMajor = 1;
inline constexpr std::uint32_t kMinor = 1;  ///< 1: shared objects.

inline constexpr std::size_t kPrefixSize = 4;
inline constexpr std::size_t kInlineBodyMax =
    4096;  ///< Bodies below it travel inside the control frame.
inline constexpr std::size_t kBodyFrameMax =
    1024 * 1024 +
    4096;  ///< Bodies up to it (1 MiB of data and its packing) travel as one payload frame.
inline constexpr std::size_t kFrameMax = kBodyFrameMax;
inline constexpr std::size_t kMessageFramesMax = 64;  ///< Control frame included.
inline constexpr std::size_t kMessageBytesMax = 2 * 1024 * 1024;
inline constexpr std::size_t kChunkSize = 512 * 1024;
inline constexpr std::size_t kReassembliesMax = 4;  ///< Per session and direction.
inline constexpr std::size_t kUntakenMax =
    1024;  ///< Whole transfers that no record has named yet, likewise.
inline constexpr std::size_t kRecordsMax = 1024;  ///< Tasks or results in one message.
inline constexpr std::size_t kBatchTarget =
    256;  ///< A batch is flushed at this many records (facts: nothing is won beyond).
inline constexpr std::size_t kControlTarget =
    256 * 1024;  ///< … or at this many bytes of control frame.
inline constexpr std::size_t kElementsMax =
    16 * kRecordsMax;  ///< msgpack elements in one control frame.
inline constexpr std::size_t kDepthMax = 8;

inline constexpr std::size_t kUnackedFramesMax = 256;  ///< Per direction; then the sender waits.
inline constexpr std::size_t kUnackedBytesMax = 4 * 1024 * 1024;
inline constexpr std::size_t kAckFrames =
    64;  ///< A bare ACK goes out at the latest after this many unacked frames …
inline constexpr std::size_t kAckBytes = 1024 * 1024;  ///< … or bytes.
inline constexpr std::size_t kUncreditedMax =
    1024;  ///< Queued credit-free frames; beyond it the session is closed.

inline constexpr std::size_t kTemplatesMax = 4096;  ///< Per session.
inline constexpr std::size_t kTaskNameMax = 128;
inline constexpr std::size_t kQueueNameMax = 64;
inline constexpr std::size_t kKeyMax = 64;
inline constexpr std::size_t kTraceMax = 256;  ///< Extras.trace.
inline constexpr std::size_t kSignatureMax = 1024;
inline constexpr std::size_t kTextMax =
    8192;  ///< Any other text field; longer ones are cut by the sender.
inline constexpr std::size_t kDetailMax = 65536;       ///< ErrorInfo.detail.
inline constexpr std::size_t kReplyMax = 1024 * 1024;  ///< Reply.body.
inline constexpr std::size_t kNestedMax = 16;          ///< ErrorInfo.nested.
inline constexpr std::size_t kDependenciesMax = 64;
inline constexpr std::size_t kDependencyFrameMax =
    16 * 1024;  ///< Larger values of dependencies go as chunks, so that 64 of them fit a message.
inline constexpr std::size_t kObjectNameMax = 128;
inline constexpr std::size_t kObjectKeyMax = 1024;   ///< A dict's packed key; expected bytes.
inline constexpr std::size_t kObjectItemsMax = 512;  ///< Items of one operation or answer.
inline constexpr std::size_t kObjectRefsMax = 16;    ///< Objects that one item names.
inline constexpr std::uint64_t kObjectCapacityMax = 1ULL << 24;  ///< Items, cells, permits.
inline constexpr std::uint64_t kBarrierPartiesMax = 4096;
inline constexpr std::uint64_t kWindowMax =
    1'000'000;  ///< Task numbers of one stream that may be unsettled at once.
inline constexpr std::uint64_t kPayloadMaxDefault = 64ULL * 1024 * 1024;
inline constexpr std::uint64_t kPayloadMaxCeiling = 1024ULL * 1024 * 1024;

inline constexpr std::chrono::milliseconds kPingAfter{2000};
inline constexpr std::chrono::milliseconds kGoneAfter{8000};
inline constexpr std::chrono::seconds kSessionTtl{60};
inline constexpr std::chrono::seconds kResultTtl{3600};
inline constexpr std::chrono::seconds kRecoveryMax{10};
inline constexpr std::chrono::milliseconds kStartedAfter{
    50};  ///< A run longer than this is told by STARTED.
inline constexpr std::chrono::milliseconds kPrefetchWork{
    50};  ///< Measured work a worker may hold beyond what runs.

}  // namespace forkmill::wire
