// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor/privileges.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace forkmill::supervisor {

namespace {

constexpr int kGroupsMax = 65'536;  // The kernel's own bound.

std::vector<gid_t> groups_of(const std::string& user, gid_t group) {
    std::vector<gid_t> groups(64);
    for (;;) {
        int count = static_cast<int>(groups.size());
        const bool whole = ::getgrouplist(user.c_str(), group, groups.data(), &count) >= 0;
        if (whole) {
            groups.resize(static_cast<std::size_t>(count));
            return groups;
        }
        if (groups.size() >= kGroupsMax) return {group};
        groups.resize(groups.size() * 2);
    }
}

bool may_pass(const Account& account, const struct stat& status) {
    if (account.uid == 0) return true;
    if (status.st_uid == account.uid) return (status.st_mode & S_IXUSR) != 0;
    const bool member = std::find(account.groups.begin(), account.groups.end(), status.st_gid) !=
                            account.groups.end() ||
                        status.st_gid == account.gid;
    return (status.st_mode & (member ? S_IXGRP : S_IXOTH)) != 0;
}

}  // namespace

AccountFound find_account(const std::string& user, const std::string& group) {
    AccountFound found;
    Account account;
    const passwd* entry = user.empty() ? ::getpwuid(::geteuid()) : ::getpwnam(user.c_str());
    if (entry == nullptr && !user.empty()) return found;
    found.user_known = true;
    account.uid = entry == nullptr ? ::geteuid() : entry->pw_uid;
    account.gid = entry == nullptr ? ::getegid() : entry->pw_gid;
    if (entry != nullptr) {
        account.name = entry->pw_name;
        account.home = entry->pw_dir;
    }
    if (!group.empty()) {
        const ::group* named = ::getgrnam(group.c_str());
        if (named == nullptr) return found;
        account.gid = named->gr_gid;
    }
    account.groups =
        user.empty() ? std::vector<gid_t>{account.gid} : groups_of(account.name, account.gid);
    found.account = std::move(account);
    return found;
}

bool Privileges::is_foreign() const {
    return account && account->uid != ::geteuid();
}

std::string to_text(const Privileges& privileges) {
    std::string text;
    if (privileges.account) {
        const Account& account = *privileges.account;
        text = std::to_string(account.uid) + ":" + std::to_string(account.gid);
        for (const gid_t group : account.groups) text += "," + std::to_string(group);
    }
    for (const ResourceLimit& limit : privileges.limits)
        text += " " + std::to_string(static_cast<int>(limit.resource)) + "=" +
                std::to_string(limit.soft) + "/" + std::to_string(limit.hard);
    return text;
}

std::vector<std::string> environment_of(const Privileges& privileges) {
    if (!privileges.account || privileges.account->name.empty()) return {};
    const Account& account = *privileges.account;
    return {"HOME=" + account.home, "USER=" + account.name, "LOGNAME=" + account.name};
}

const char* assume(const Privileges& privileges) {
    for (const ResourceLimit& limit : privileges.limits) {
        const rlimit both{limit.soft, limit.hard};
        if (::setrlimit(limit.resource, &both) != 0) return "setrlimit";
    }
    if (!privileges.account) return nullptr;
    const Account& account = *privileges.account;
    // The kernel's own calls: the C library's would take locks to tell threads that are not here.
    if (::syscall(SYS_setgroups, account.groups.size(), account.groups.data()) != 0)
        return "setgroups";
    if (::syscall(SYS_setresgid, account.gid, account.gid, account.gid) != 0) return "setresgid";
    if (::syscall(SYS_setresuid, account.uid, account.uid, account.uid) != 0) return "setresuid";
    return nullptr;
}

base::Status open_to_users(const std::string& state_dir) {
    const auto set_mode = [](const std::string& path, mode_t mode) -> base::Status {
        if (::chmod(path.c_str(), mode) == 0) return base::Done{};
        const int number = errno;
        return base::Failure{"cannot set the mode of " + path + ": " + std::strerror(number),
                             number};
    };
    if (base::Status passed = set_mode(state_dir, 0711); !passed) return passed;
    const std::string modules = state_dir + "/modules";
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(modules, none))
        if (base::Status readable = set_mode(entry.path().string(), 0555); !readable)
            return readable;
    return none ? base::Done{} : set_mode(modules, 0711);
}

std::string closed_directory(const Account& account, const std::string& path) {
    std::filesystem::path way;
    for (const auto& part : std::filesystem::path{path}) {
        way /= part;
        struct stat status {};
        if (::stat(way.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
            !may_pass(account, status))
            return way.string();
    }
    return {};
}

}  // namespace forkmill::supervisor
