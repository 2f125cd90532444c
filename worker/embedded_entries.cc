// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <memory>

#include "worker/embedded.h"

namespace forkmill::worker {

namespace {

/// Numbers and texts one after another; reader and writer are images of one program.
class Packer {
  public:
    void number(std::uint64_t value) { raw(&value, sizeof value); }
    void text(const std::string& value) {
        number(value.size());
        raw(value.data(), value.size());
    }
    std::vector<std::byte> take() { return std::move(bytes_); }

  private:
    void raw(const void* data, std::size_t size) {
        const auto* from = static_cast<const std::byte*>(data);
        bytes_.insert(bytes_.end(), from, from + size);
    }
    std::vector<std::byte> bytes_;
};

class Unpacker {
  public:
    explicit Unpacker(std::span<const std::byte> bytes) : bytes_(bytes) {}
    std::uint64_t number() {
        std::uint64_t value = 0;
        if (bytes_.size() < sizeof value) return end();
        std::memcpy(&value, bytes_.data(), sizeof value);
        bytes_ = bytes_.subspan(sizeof value);
        return value;
    }
    std::string text() {
        const std::uint64_t size = number();
        if (size > bytes_.size()) return end(), std::string{};
        std::string value{reinterpret_cast<const char*>(bytes_.data()), size};
        bytes_ = bytes_.subspan(size);
        return value;
    }

  private:
    std::uint64_t end() {
        bytes_ = {};
        return 0;
    }
    std::span<const std::byte> bytes_;
};

template <class Pointer>
std::uint64_t address(Pointer pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer);
}

}  // namespace

std::vector<std::byte> pack_task_entries(const std::vector<detail::TaskEntry>& tasks) {
    Packer out;
    out.number(tasks.size());
    for (const detail::TaskEntry& task : tasks) {
        out.text(task.name);
        out.text(task.signature);
        out.number(address(task.runner.get()));
        out.number(address(task.thunk));
        out.number(address(task.function));
    }
    return out.take();
}

std::vector<detail::TaskEntry> unpack_task_entries(std::span<const std::byte> bytes) {
    Unpacker in{bytes};
    std::vector<detail::TaskEntry> tasks(std::min<std::uint64_t>(in.number(), bytes.size() / 40));
    for (detail::TaskEntry& task : tasks) {
        task.name = in.text();
        task.signature = in.text();
        // The object belongs to the program this process is a copy of: it is used, never freed.
        task.runner = std::shared_ptr<const detail::Runner>{
            std::shared_ptr<const void>{}, reinterpret_cast<const detail::Runner*>(in.number())};
        task.thunk = reinterpret_cast<detail::Thunk>(in.number());
        task.function = reinterpret_cast<const void*>(in.number());
    }
    return tasks;
}

}  // namespace forkmill::worker
