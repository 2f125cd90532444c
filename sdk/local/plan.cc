// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/plan.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <type_traits>
#include <utility>

#include "worker/embedded.h"

namespace forkmill {
inline namespace v0 {
namespace local {

namespace {

class Packer {
  public:
    template <class T>
    void value(const T& v) {
        static_assert(std::is_trivially_copyable_v<T>);
        raw(&v, sizeof v);
    }
    void bytes(const void* data, std::size_t size) {
        value(static_cast<std::uint64_t>(size));
        raw(data, size);
    }
    const std::vector<std::byte>& out() const { return out_; }

  private:
    void raw(const void* data, std::size_t size) {
        const auto* from = static_cast<const std::byte*>(data);
        out_.insert(out_.end(), from, from + size);
    }
    std::vector<std::byte> out_;
};

class Unpacker {
  public:
    explicit Unpacker(const std::vector<std::byte>& in) : in_(in) {}
    template <class T>
    void value(T& v) {
        raw(&v, sizeof v);
    }
    template <class Container>
    void bytes(Container& to) {
        std::uint64_t size = 0;
        value(size);
        if (size > in_.size() - at_) ok_ = false;
        if (!ok_) return;
        to.resize(static_cast<std::size_t>(size));
        raw(to.data(), to.size());
    }
    bool ok() const { return ok_; }

  private:
    void raw(void* to, std::size_t size) {
        if (size > in_.size() - at_) ok_ = false;
        if (!ok_ || size == 0) return;
        std::memcpy(to, in_.data() + at_, size);
        at_ += size;
    }
    const std::vector<std::byte>& in_;
    std::size_t at_ = 0;
    bool ok_ = true;
};

}  // namespace

supervisor::OwnedFd write_plan(const Plan& plan) {
    Packer packer;
    packer.bytes(plan.host_key.data(), plan.host_key.size());
    packer.bytes(plan.pool.data(), plan.pool.size());
    packer.value(plan.threads);
    packer.value(plan.max_tasks_per_child);
    packer.bytes(plan.tasks.data(), plan.tasks.size());
    packer.value(plan.initializer);
    packer.value(plan.initializer_thunk);
    packer.bytes(plan.initargs.data(), plan.initargs.size());
    supervisor::OwnedFd fd{::memfd_create("forkmill-plan", MFD_CLOEXEC)};
    if (!fd) throw std::system_error{errno, std::generic_category(), "memfd_create"};
    std::size_t at = 0;
    while (at < packer.out().size()) {
        const ssize_t wrote = ::pwrite(
            fd.get(), packer.out().data() + at, packer.out().size() - at, static_cast<off_t>(at));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0)
            throw std::system_error{errno, std::generic_category(), "writing a pool's plan"};
        at += static_cast<std::size_t>(wrote);
    }
    return fd;
}

std::optional<Plan> read_plan(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0 || status.st_size <= 0) return std::nullopt;
    std::vector<std::byte> all(static_cast<std::size_t>(status.st_size));
    std::size_t at = 0;
    while (at < all.size()) {
        // pread: the file offset is shared by all that got this memfd.
        const ssize_t got = ::pread(fd, all.data() + at, all.size() - at, static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return std::nullopt;
        at += static_cast<std::size_t>(got);
    }
    Plan plan;
    Unpacker unpacker{all};
    unpacker.bytes(plan.host_key);
    unpacker.bytes(plan.pool);
    unpacker.value(plan.threads);
    unpacker.value(plan.max_tasks_per_child);
    unpacker.bytes(plan.tasks);
    unpacker.value(plan.initializer);
    unpacker.value(plan.initializer_thunk);
    unpacker.bytes(plan.initargs);
    if (!unpacker.ok()) return std::nullopt;
    return plan;
}

int run_worker(const supervisor::Birth& birth) {
    const std::optional<Plan> plan =
        birth.extra_fds.empty() ? std::nullopt : read_plan(birth.extra_fds[0]);
    for (const int fd : birth.extra_fds) ::close(fd);
    if (!plan) return 70;
    worker::EmbeddedBirth life;
    life.socket_fd = birth.socket_fd;
    life.channel_fd = birth.channel_fd;
    life.cells = birth.cells;
    life.host_key = plan->host_key;
    life.pool = plan->pool;
    life.pool_index = birth.pool;
    life.slot = birth.slot;
    life.birth = birth.generation;
    life.threads = plan->threads;
    life.max_tasks_per_child = plan->max_tasks_per_child;
    life.tasks = worker::unpack_task_entries(plan->tasks);
    if (plan->initializer_thunk != nullptr) {
        life.initializer = [thunk = plan->initializer_thunk,
                            function = plan->initializer,
                            arguments = plan->initargs] {
            detail::Buffer nothing;
            thunk(function, detail::Arguments{arguments, {}}, nothing);
        };
    }
    return worker::run_embedded(std::move(life));
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
