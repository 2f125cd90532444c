// SPDX-License-Identifier: Apache-2.0
#include "core/session/transfers.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "core/wire/codec.h"

namespace forkmill::session {

namespace {

/// The bytes [at, at + size) of `body` without a copy where a block allows it.
base::Blob part_of(const base::Body& body, std::uint64_t at, std::size_t size) {
    if (!body.chunks) {
        if (!body.blob.empty()) return body.blob.slice(static_cast<std::size_t>(at), size);
        return base::Blob::copy(body.view.subspan(static_cast<std::size_t>(at), size));
    }
    base::Blob part = base::Blob::allocate(size);
    std::size_t filled = 0;
    for (const base::Blob& chunk : *body.chunks) {
        if (at >= chunk.size()) {
            at -= chunk.size();
            continue;
        }
        const std::size_t from = static_cast<std::size_t>(at);
        const std::size_t take = std::min(size - filled, chunk.size() - from);
        std::copy_n(chunk.data() + from, take, part.mutable_data() + filled);
        filled += take;
        at = 0;
        if (filled == size) break;
    }
    return part;
}

}  // namespace

void Transfers::reset() {
    incoming_.clear();
    sending_ = false;
    next_transfer_ = 1;
    sent_bytes_ = 0;
}

void Transfers::queue_chunk(Session& session,
                            std::uint64_t floor,
                            bool last,
                            const base::Blob& part) {
    const wire::Header header{wire::Kind::Chunk, session.next_number(), session.received(), floor};
    session.queue(wire::encode_chunk(header, next_transfer_, last, part));
    session.ack_told();
}

std::optional<std::uint64_t> Transfers::send(Session& session,
                                             std::uint64_t floor,
                                             const base::Body& body) {
    const std::uint64_t size = body.size();
    sending_ = true;
    while (sent_bytes_ < size) {
        if (!session.can_send()) return std::nullopt;
        const auto part =
            static_cast<std::size_t>(std::min<std::uint64_t>(wire::kChunkSize, size - sent_bytes_));
        queue_chunk(session, floor, sent_bytes_ + part == size, part_of(body, sent_bytes_, part));
        sent_bytes_ += part;
    }
    sending_ = false;
    sent_bytes_ = 0;
    return next_transfer_++;
}

void Transfers::give_up(Session& session, std::uint64_t floor) {
    if (!sending_) return;
    queue_chunk(session, floor, true, {});
    sending_ = false;
    sent_bytes_ = 0;
    ++next_transfer_;
}

base::Status Transfers::on_chunk(const wire::Chunk& chunk, const base::Message& message) {
    if (message.payloads.size() != 1 || message.payloads[0].size() > wire::kBodyFrameMax)
        return base::Failure{"a chunk carries one payload frame"};
    auto known = incoming_.find(chunk.transfer);
    if (known == incoming_.end()) {
        const auto unfinished = static_cast<std::size_t>(
            std::count_if(incoming_.begin(), incoming_.end(), [](const auto& entry) {
                return !entry.second.complete;
            }));
        if (unfinished >= wire::kReassembliesMax)
            return base::Failure{"more than 4 bodies at once"};
        // Whole ones wait for their record, which may name many (dependencies) or come after many
        // (a batch of results).
        if (incoming_.size() - unfinished >= wire::kUntakenMax)
            return base::Failure{"more bodies than any batch of records names"};
        known = incoming_.emplace(chunk.transfer, Incoming{}).first;
    }
    Incoming& body = known->second;
    if (body.complete) return base::Failure{"a chunk after the last one"};
    if (message.payloads[0].empty() && chunk.last) {
        incoming_.erase(known);
        return base::Done{};
    }
    body.bytes += message.payloads[0].size();
    if (body.bytes > payload_max_) return base::Failure{"a body above the payload limit"};
    body.chunks.push_back(message.payloads[0]);
    body.complete = chunk.last;
    return base::Done{};
}

base::Result<base::Body> Transfers::take(std::uint64_t transfer, std::uint64_t size) {
    const auto known = incoming_.find(transfer);
    if (known == incoming_.end() || !known->second.complete || known->second.bytes != size)
        return base::Failure{"a record names a body that has not come"};
    auto chunks = std::make_shared<const std::vector<base::Blob>>(std::move(known->second.chunks));
    incoming_.erase(known);
    return base::Body::of(base::Chunks{std::move(chunks)});
}

}  // namespace forkmill::session
