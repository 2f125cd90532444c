// SPDX-License-Identifier: Apache-2.0
// Network: another host's network on this machine: a namespace with a wire to ours.
//
// Needs root and iproute2; without them apart() is false and both ends are 127.0.0.1, so that a
// test still runs, over loopback. The destructor takes everything down. Threading: one owner.
#pragma once

#include <string>
#include <vector>

namespace forkmill::e2e {

class Network {
  public:
    Network();
    ~Network();
    Network(const Network&) = delete;
    Network& operator=(const Network&) = delete;

    bool apart() const { return apart_; }
    /// Where what listens on our side is reached from the other.
    std::string our_address() const { return apart_ ? prefix_ + "1" : "127.0.0.1"; }
    /// Put before a command line, it runs the command on the other side.
    std::vector<std::string> over_there() const;
    /// Cuts the wire, or mends it; what was on its way is lost. REQUIRES: apart().
    void cut() { wire("down"); }
    void mend() { wire("up"); }

  private:
    bool ip(const std::vector<std::string>& words) const;
    void wire(const std::string& state);

    std::string name_;
    std::string prefix_;  ///< "10.200.7."
    bool apart_ = false;
};

}  // namespace forkmill::e2e
