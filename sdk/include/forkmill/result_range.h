// SPDX-License-Identifier: Apache-2.0
// ResultRange: results of imap and imap_unordered, lazily: the input is read a window ahead of what
// was taken, by the thread that takes.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "forkmill/async_result.h"

namespace forkmill {
inline namespace v0 {

/// An input range: `for (double y : pool.imap(simulate, seeds))`. Move-only, one thread at a time.
/// Destroying it cancels what it submitted and is not done. An lvalue input must outlive it. An
/// error of a task is thrown where its result would have come; next() may go on after it. What the
/// input range throws comes, unwrapped, after the results of the items before.
template <class T>
class [[nodiscard]] ResultRange {
  public:
    /// Submits the next input; false at the end of the input.
    using Feed = std::function<bool(detail::Group&)>;

    ResultRange(detail::GroupPtr group,
                Feed feed,
                std::size_t window,
                std::size_t chunk,
                bool ordered)
        : group_(std::move(group)),
          feed_(std::move(feed)),
          window_(window),
          chunk_(chunk),
          ordered_(ordered) {}
    ResultRange(ResultRange&&) noexcept = default;
    ResultRange& operator=(ResultRange&&) = delete;
    ~ResultRange() {
        if (group_) detail::group_cancel(*group_, false);
    }

    /// The next result; nullopt after the last. Throws TimeoutError (and can be continued), the
    /// task's error, or what the input threw.
    std::optional<detail::Stored<T>> next(Duration timeout = forever) {
        fill();
        if (taken_ == fed_) {
            if (input_error_) std::rethrow_exception(std::exchange(input_error_, nullptr));
            return std::nullopt;
        }
        std::size_t index = taken_;
        if (ordered_) {
            if (!detail::group_wait_item(*group_, index, timeout))
                throw TimeoutError("the next result is not there yet");
        } else {
            const std::optional<std::size_t> settled = detail::group_next(*group_, timeout);
            if (!settled) throw TimeoutError("no further result is there yet");
            index = *settled;
        }
        ++taken_;
        index_ = index;
        const Release release{*group_, index};
        return detail::decode_result<T>(detail::group_view(*group_, index));
    }
    /// Position in the input of what next() gave last.
    std::size_t index() const { return index_; }

    class Iterator {
      public:
        using value_type = detail::Stored<T>;
        using difference_type = std::ptrdiff_t;
        using iterator_concept = std::input_iterator_tag;
        explicit Iterator(ResultRange* range) : range_(range) {}
        value_type& operator*() const { return *range_->current_; }
        Iterator& operator++() {
            range_->current_ = range_->next();
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const { return !range_->current_; }

      private:
        ResultRange* range_;
    };
    Iterator begin() {
        current_ = next();
        return Iterator{this};
    }
    std::default_sentinel_t end() const { return {}; }

  private:
    struct Release {
        detail::Group& group;
        std::size_t index;
        ~Release() { detail::group_release(group, index); }
    };

    void fill() {
        std::size_t unsent = 0;
        while (!exhausted_ && fed_ - taken_ < window_) {
            try {
                exhausted_ = !feed_(*group_);
            } catch (...) {
                input_error_ = std::current_exception();
                exhausted_ = true;
            }
            if (exhausted_) break;
            ++fed_;
            if (++unsent == chunk_) {
                detail::group_flush(*group_);
                unsent = 0;
            }
        }
        if (unsent != 0) detail::group_flush(*group_);
    }

    detail::GroupPtr group_;
    Feed feed_;
    std::size_t window_;
    std::size_t chunk_;
    bool ordered_;
    bool exhausted_ = false;
    std::size_t fed_ = 0;
    std::size_t taken_ = 0;
    std::size_t index_ = 0;
    std::exception_ptr input_error_;
    std::optional<detail::Stored<T>> current_;
};

}  // namespace v0
}  // namespace forkmill
