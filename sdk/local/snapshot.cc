// SPDX-License-Identifier: Apache-2.0
#include "sdk/local/snapshot.h"

#include <link.h>

#include <algorithm>

namespace forkmill {
inline namespace v0 {
namespace local {

std::vector<Snapshot::Image> Snapshot::images() {
    std::vector<Image> list;
    const auto visit = [](dl_phdr_info* info, std::size_t, void* out) {
        Image image{UINT64_MAX, 0};
        for (int i = 0; i < info->dlpi_phnum; ++i) {
            const ElfW(Phdr)& segment = info->dlpi_phdr[i];
            if (segment.p_type != PT_LOAD) continue;
            const std::uint64_t begin = info->dlpi_addr + segment.p_vaddr;
            image.begin = std::min(image.begin, begin);
            image.end = std::max(image.end, begin + segment.p_memsz);
        }
        if (image.end != 0) static_cast<std::vector<Image>*>(out)->push_back(image);
        return 0;
    };
    ::dl_iterate_phdr(visit, &list);
    return list;
}

Snapshot Snapshot::take() {
    Snapshot snapshot;
    snapshot.images_ = images();
    snapshot.newest_runner_ = detail::runner_serial();
    return snapshot;
}

bool Snapshot::has(const void* address) const {
    const auto at = reinterpret_cast<std::uint64_t>(address);
    return std::any_of(images_.begin(), images_.end(), [at](const Image& image) {
        return at >= image.begin && at < image.end;
    });
}

bool Snapshot::has(const detail::TaskEntry& entry) const {
    if (entry.runner) return entry.runner->serial() <= newest_runner_;
    return has(reinterpret_cast<const void*>(entry.thunk)) && has(entry.function);
}

}  // namespace local
}  // namespace v0
}  // namespace forkmill
