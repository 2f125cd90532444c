// SPDX-License-Identifier: Apache-2.0
// NoTasks: the half of a client that submits nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/session/client_core.h"

namespace sim {

class NoTasks : public forkmill::session::SubmitSource, public forkmill::session::OutcomeSink {
  public:
    const forkmill::session::SubmitItem* peek() override { return nullptr; }
    void pop() override {}
    const forkmill::wire::TemplateDef& template_of(std::uint32_t) override { return definition_; }
    std::optional<forkmill::session::CancelItem> next_cancel() override { return std::nullopt; }
    void rewind() override {}
    std::uint64_t floor() const override { return 1; }
    void pumped() override {}
    void on_accepted(std::uint64_t, std::uint64_t) override {}
    void on_refused(const forkmill::wire::Refused&) override {}
    void on_forgotten(std::uint64_t, std::uint64_t) override {}
    bool on_outcome(std::uint64_t, forkmill::wire::Outcome, const forkmill::base::Body&) override {
        return false;
    }
    void on_partial(std::uint64_t, double, std::string_view) override {}
    void on_reply(const forkmill::wire::Reply&) override {}
    void on_turn(forkmill::session::ClientCore&) override {}

  private:
    forkmill::wire::TemplateDef definition_;
};

}  // namespace sim
