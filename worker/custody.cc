// SPDX-License-Identifier: Apache-2.0
#include "worker/custody.h"

#include <iterator>

namespace forkmill::worker {

void Custody::keep(std::uint64_t number, std::vector<Result>& results) {
    Frame frame;
    frame.number = number;
    if (!spare_.empty()) {
        frame.results = std::move(spare_.back());
        spare_.pop_back();
    }
    frame.results.swap(results);
    for (const Result& result : frame.results) frame.bytes += result.body.size();
    results_ += frame.results.size();
    bytes_ += frame.bytes;
    frames_.push_back(std::move(frame));
}

bool Custody::release(std::uint64_t floor) {
    bool any = false;
    while (!frames_.empty() && frames_.front().number <= floor) {
        Frame& frame = frames_.front();
        results_ -= frame.results.size();
        bytes_ -= frame.bytes;
        frame.results.clear();
        if (spare_.size() < kSpareMax) spare_.push_back(std::move(frame.results));
        frames_.pop_front();
        any = true;
    }
    return any;
}

std::vector<Result> Custody::take_all() {
    std::vector<Result> all;
    all.reserve(results_);
    for (Frame& frame : frames_)
        all.insert(all.end(),
                   std::make_move_iterator(frame.results.begin()),
                   std::make_move_iterator(frame.results.end()));
    frames_.clear();
    results_ = 0;
    bytes_ = 0;
    return all;
}

std::string Custody::check_invariants() const {
    std::size_t results = 0;
    std::size_t bytes = 0;
    std::uint64_t last = 0;
    for (const Frame& frame : frames_) {
        if (frame.number <= last) return "kept frames are out of order";
        last = frame.number;
        results += frame.results.size();
        bytes += frame.bytes;
    }
    if (results != results_ || bytes != bytes_) return "custody counts differ from what is kept";
    return {};
}

}  // namespace forkmill::worker
