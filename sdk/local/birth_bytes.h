// SPDX-License-Identifier: Apache-2.0
// BirthBytes: what a child of the fork server is told at its birth: values one after another in a
// memfd that travels with the order.
//
// Writer and reader are images of one program, so bytes and code addresses mean the same in both.
// Invariant: a reader past the end of the bytes says ok() = false and touches nothing more.
// Threading: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "core/base/result.h"
#include "core/supervisor/fd.h"

namespace forkmill {
inline namespace v0 {
namespace local {

class BirthWriter {
  public:
    template <class T>
    void value(const T& v) {
        static_assert(std::is_trivially_copyable_v<T>);
        raw(&v, sizeof v);
    }
    template <class Container>
    void bytes(const Container& from) {
        value(static_cast<std::uint64_t>(from.size()));
        raw(from.data(), from.size());
    }
    /// All that was written, as a memfd.
    base::Result<supervisor::OwnedFd> to_memfd() const;

  private:
    void raw(const void* data, std::size_t size);

    std::vector<std::byte> out_;
};

class BirthReader {
  public:
    /// Nothing when it cannot be read.
    static std::optional<BirthReader> from_memfd(int fd);

    template <class T>
    void value(T& v) {
        static_assert(std::is_trivially_copyable_v<T>);
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
    void raw(void* to, std::size_t size);

    std::vector<std::byte> in_;
    std::size_t at_ = 0;
    bool ok_ = true;
};

}  // namespace local
}  // namespace v0
}  // namespace forkmill
