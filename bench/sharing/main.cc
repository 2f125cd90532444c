// SPDX-License-Identifier: Apache-2.0
// tools/bench_sharing: operations on shared objects, embedded and through a daemon over unix, ipc
// and tcp, beside Python's multiprocessing, in interleaved rounds of one run; a JSON line per
// metric and size, medians of rounds.
//
// bench_sharing [--quick] [METRIC…]. Each round measures a metric everywhere before the next, so
// that the machine's noise hits all alike; ratios are ours ÷ theirs within a round. Exit code 1: a
// floor was missed.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bench/sharing/ours.h"
#include "bench/sharing/peer.h"
#include "bench/support/daemon.h"

namespace {

using bench::Clock;
using bench::Figure;
using bench::Metric;
using Json = nlohmann::ordered_json;

/// Over ipc:// and tcp:// there is ZeroMQ, over unix:// none.
constexpr std::array<const char*, 4> kSizes{"embedded", "unix", "ipc", "tcp"};
constexpr std::array<const char*, 3> kPeers{"plain", "simple", "manager"};

struct Plan {
    int rounds = 5;
    Clock::duration length = std::chrono::milliseconds{250};
    std::vector<std::string> only;

    bool has(const Metric& metric) const {
        return only.empty() || std::find(only.begin(), only.end(), metric.name) != only.end();
    }
};

Plan plan_of(int argc, char** argv) {
    Plan plan;
    for (int i = 1; i < argc; ++i) {
        if (std::string_view{argv[i]} == "--quick") {
            plan.rounds = 3;
            plan.length = std::chrono::milliseconds{60};
            continue;
        }
        plan.only.emplace_back(argv[i]);
        const bool known = std::any_of(bench::kMetrics.begin(),
                                       bench::kMetrics.end(),
                                       [&](const Metric& m) { return plan.only.back() == m.name; });
        if (!known) throw std::invalid_argument{"no such metric: " + plan.only.back()};
    }
    return plan;
}

/// One of our sizes: a pool with one worker, and the daemon that it needs.
class Size {
  public:
    explicit Size(const std::string& name)
        : daemon_(name == "embedded" ? nullptr : std::make_unique<bench::Daemon>(name, 1)),
          pool_(options()) {}

    forkmill::Pool& pool() { return pool_; }

  private:
    forkmill::PoolOptions options() const {
        forkmill::PoolOptions options;
        if (daemon_) {
            options.endpoint = daemon_->endpoint();
        } else {
            options.workers = 1;
            options.tasks = bench::sharing_tasks();
        }
        return options;
    }

    std::unique_ptr<bench::Daemon> daemon_;
    forkmill::Pool pool_;
};

/// A metric's figures by side, a figure per round.
using Rounds = std::map<std::string, std::vector<Figure>>;

template <class Of>
double median(const std::vector<Figure>& figures, const Of& of) {
    std::vector<double> values;
    for (const Figure& figure : figures) values.push_back(of(figure));
    std::sort(values.begin(), values.end());
    return values.empty() ? 0 : values[values.size() / 2];
}

/// Three significant digits; null for what there is not.
Json rounded(double value) {
    if (value <= 0) return nullptr;
    const double unit = std::pow(10.0, std::floor(std::log10(value)) - 2);
    return unit >= 1 ? Json(std::llround(std::round(value / unit) * unit))
                     : Json(std::round(value / unit) / std::round(1 / unit));
}

/// The median of the rounds' ratios: noise that lasts for a round cancels out. 0 without a peer.
double ratio_of(const Rounds& rounds, const std::string& size, const std::string& peer) {
    const auto theirs = rounds.find(peer);
    if (theirs == rounds.end()) return 0;
    std::vector<Figure> ratios;
    for (std::size_t i = 0; i < theirs->second.size(); ++i)
        ratios.push_back({.rate = rounds.at(size)[i].rate / theirs->second[i].rate});
    return median(ratios, [](const Figure& ratio) { return ratio.rate; });
}

/// What `size` must be of `peer`; 0: nothing. A daemon's floor holds for the way to it on one host:
/// ipc:// is ZeroMQ's, whose threads alone take longer than half of what a Manager does.
double floor_of(const Metric& metric, std::string_view size, std::string_view peer) {
    if (peer == "plain" && size == "embedded") return metric.plain_floor;
    if (peer == "manager" && size == "unix") return metric.manager_floor;
    return 0;
}

/// False: a floor was missed.
bool print(const Metric& metric, const std::string& side, const Rounds& rounds) {
    const std::vector<Figure>& figures = rounds.at(side);
    Json line;
    line["metric"] = metric.name;
    line["size"] = side;
    line["unit"] = metric.unit;
    line["value"] = rounded(median(figures, [](const Figure& figure) { return figure.rate; }));
    line["p50_us"] = rounded(median(figures, [](const Figure& figure) { return figure.p50_us; }));
    line["p99_us"] = rounded(median(figures, [](const Figure& figure) { return figure.p99_us; }));
    bool met = true;
    const bool ours = std::find(kSizes.begin(), kSizes.end(), side) != kSizes.end();
    double floor = 0;
    for (const char* name : kPeers) {
        if (!ours) break;
        const std::string key = name + std::string{"_ratio"};
        const double ratio = ratio_of(rounds, side, name);
        line[key] = rounded(ratio);
        if (floor_of(metric, side, name) <= 0) continue;
        floor = floor_of(metric, side, name);
        line["floor_of"] = key;
        met = ratio >= floor;
    }
    if (floor > 0) {
        line["floor"] = floor;
        line["met"] = met;
    }
    std::cout << line.dump() << std::endl;
    return met;
}

double load_average() {
    double load = 0;
    std::ifstream{"/proc/loadavg"} >> load;
    return load;
}

int run(const Plan& plan) {
    bench::Peer peer{FORKMILL_BENCH_PEER};
    std::map<std::string, std::unique_ptr<Size>> sizes;
    for (const char* name : kSizes) sizes[name] = std::make_unique<Size>(name);
    std::map<std::string, Rounds> found;
    double busiest = 0;
    for (int round = 0; round < plan.rounds; ++round) {
        busiest = std::max(busiest, load_average());
        std::cerr << "round " << round + 1 << " of " << plan.rounds << '\n';
        for (const Metric& metric : bench::kMetrics) {
            if (!plan.has(metric)) continue;
            Rounds& rounds = found[metric.name];
            for (const char* name : kSizes)
                rounds[name].push_back(metric.run(sizes[name]->pool(), plan.length));
            for (const char* kind : kPeers) {
                if (const auto figure = peer.run(metric.name, kind, plan.length))
                    rounds[kind].push_back(*figure);
            }
        }
    }
    bool met = true;
    for (const Metric& metric : bench::kMetrics) {
        if (!plan.has(metric)) continue;
        const Rounds& rounds = found[metric.name];
        for (const char* size : kSizes) met = print(metric, size, rounds) && met;
        for (const char* kind : kPeers) {
            if (rounds.contains(kind)) print(metric, kind, rounds);
        }
    }
    // Beside an idle machine's figures those of a busy one say little.
    std::cout << Json{{"metric", "load_average"}, {"size", "host"}, {"value", busiest}}.dump()
              << std::endl;
    return met ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
    if (bench::is_worker()) {
        forkmill::Worker worker;
        worker.tasks = bench::sharing_tasks();
        return worker.run(argc, argv);
    }
    try {
        return run(plan_of(argc, argv));
    } catch (const std::exception& error) {
        std::cerr << "bench_sharing: " << error.what() << '\n';
        return 2;
    }
}
