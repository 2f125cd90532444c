// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/handover.h"

#include <charconv>
#include <string_view>

#include "core/supervisor/child_env.h"
#include "core/supervisor/fd.h"
#include "core/supervisor/fd_text.h"

namespace forkmill::supervisor {

namespace {

constexpr const char* kVariable = "FORKMILL_HANDOVER_FD";
constexpr std::size_t kBytesMax = 64 << 20;
constexpr std::int64_t kPoolsMax = 65'536;
constexpr std::int64_t kChildrenMax = 1 << 20;

bool is_whole(std::from_chars_result read, const char* end) {
    return read.ec == std::errc{} && read.ptr == end;
}

void write(PieceWriter& out, const SavedChild& child) {
    for (const std::int64_t number : {std::int64_t{child.slot},
                                      std::int64_t{child.generation},
                                      std::int64_t{child.pid},
                                      std::int64_t{child.pidfd},
                                      std::int64_t{child.channel_fd},
                                      std::int64_t{child.stderr_fd},
                                      static_cast<std::int64_t>(child.state),
                                      child.born_ns,
                                      std::int64_t{child.was_ready},
                                      std::int64_t{child.leaving},
                                      std::int64_t{child.emptied},
                                      std::int64_t{child.current},
                                      static_cast<std::int64_t>(child.doom)})
        out.number(number);
}

SavedChild read_child(PieceReader& in) {
    SavedChild child;
    child.slot = static_cast<std::uint32_t>(in.number());
    child.generation = static_cast<std::uint32_t>(in.number());
    child.pid = static_cast<std::int32_t>(in.number());
    child.pidfd = static_cast<int>(in.number());
    child.channel_fd = static_cast<int>(in.number());
    child.stderr_fd = static_cast<int>(in.number());
    const std::int64_t state = in.number();
    child.state = state >= 0 && state < static_cast<std::int64_t>(kSlotStates)
                      ? static_cast<SlotState>(state)
                      : SlotState::Empty;
    child.born_ns = in.number();
    child.was_ready = in.number() != 0;
    child.leaving = in.number() != 0;
    child.emptied = in.number() != 0;
    child.current = in.number() != 0;
    child.doom = static_cast<Cause>(in.number());
    return child;
}

}  // namespace

void PieceWriter::text(const std::string& piece) {
    out_ += std::to_string(piece.size()) + ":" + piece;
}

std::string PieceReader::text() {
    // A size has at most 20 digits: where no colon follows them, none is looked for to the end.
    constexpr std::size_t kDigitsMax = 20;
    const std::string_view rest = std::string_view{text_}.substr(at_);
    const std::size_t colon = rest.substr(0, kDigitsMax + 1).find(':');
    std::size_t size = 0;
    const char* begin = rest.data();
    if (colon == std::string_view::npos ||
        !is_whole(std::from_chars(begin, begin + colon, size), begin + colon) ||
        size > rest.size() - colon - 1) {
        good_ = false;
        at_ = text_.size();
        return {};
    }
    at_ += colon + 1 + size;
    return std::string{rest.substr(colon + 1, size)};
}

std::int64_t PieceReader::number() {
    const std::string piece = text();
    std::int64_t value = 0;
    const char* end = piece.data() + piece.size();
    if (!is_whole(std::from_chars(piece.data(), end, value), end)) good_ = false;
    return good_ ? value : 0;
}

std::string to_text(const SavedMaster& saved) {
    PieceWriter out;
    out.number(kHandoverFormat);
    out.text(saved.owner);
    out.text(saved.relay_identity);
    out.number(saved.relay_generation);
    out.number(saved.relay ? 1 : 0);
    if (saved.relay) write(out, *saved.relay);
    out.number(static_cast<std::int64_t>(saved.pools.size()));
    for (const SavedPool& pool : saved.pools) {
        out.text(pool.name);
        out.text(pool.identity);
        out.number(pool.workers);
        out.number(pool.closed ? 1 : 0);
        out.number(pool.scoreboard_fd);
        out.number(static_cast<std::int64_t>(pool.children.size()));
        for (const SavedChild& child : pool.children) write(out, child);
    }
    return out.take();
}

base::Result<SavedMaster> saved_from_text(const std::string& text) {
    PieceReader in{text};
    if (in.number() != kHandoverFormat)
        return base::Failure{
            "the running master hands over in a format that this build does not "
            "know; expected a restart instead of an upgrade"};
    SavedMaster saved;
    saved.owner = in.text();
    saved.relay_identity = in.text();
    saved.relay_generation = static_cast<std::uint32_t>(in.number());
    if (in.number() != 0) saved.relay = read_child(in);
    const std::int64_t pools = in.number();
    for (std::int64_t i = 0; i < pools && i < kPoolsMax && in.good(); ++i) {
        SavedPool pool;
        pool.name = in.text();
        pool.identity = in.text();
        pool.workers = static_cast<std::uint32_t>(in.number());
        pool.closed = in.number() != 0;
        pool.scoreboard_fd = static_cast<int>(in.number());
        const std::int64_t children = in.number();
        for (std::int64_t k = 0; k < children && k < kChildrenMax && in.good(); ++k)
            pool.children.push_back(read_child(in));
        saved.pools.push_back(std::move(pool));
    }
    if (!in.good() || !in.at_end())
        return base::Failure{"what the running master hands over cannot be read"};
    return saved;
}

std::optional<int> take_handover_fd() {
    return take_fd(kVariable);
}

base::Result<SavedMaster> read_handover(int fd) {
    const OwnedFd file{fd};
    const base::Result<std::string> text = read_whole(fd, kBytesMax, "the handover");
    if (!text) return text.failure();
    return saved_from_text(text.value());
}

std::string handover_variable(int fd) {
    return std::string{kVariable} + "=" + std::to_string(fd);
}

}  // namespace forkmill::supervisor
