// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "confine.hpp"

namespace edgeguard {
namespace {

// The kernel's interface, written down here because many build hosts have older headers; the
// numbers are the same on every architecture.
constexpr long kCreateRuleset = 444, kAddRule = 445, kRestrictSelf = 446;
constexpr unsigned kVersion = 1, kPathBeneath = 1, kNetPort = 2;
constexpr uint64_t kConnect = 1 << 1;
constexpr uint64_t kReadFile = 1 << 2, kReadDir = 1 << 3, kWriteFile = 1 << 1, kIoctl = 1 << 15;

struct Ruleset {
  uint64_t files, network, scoped;
};

struct __attribute__((packed)) PathBeneath {
  uint64_t allowed;
  int32_t parent;
};

struct NetPort {
  uint64_t allowed, port;
};

// All rights over files that this version of the kernel can refuse.
uint64_t file_rights(int abi) {
  uint64_t rights = (1u << 13) - 1; // execute, read, write, remove, make
  if (abi >= 2) rights |= 1 << 13;  // move between folders
  if (abi >= 3) rights |= 1 << 14;  // truncate
  if (abi >= 5) rights |= kIoctl;
  return rights;
}

size_t ruleset_bytes(int abi) {
  return abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
}

// What is not there cannot be read anyway.
int allow(int ruleset, const std::string &path, uint64_t rights) {
  const int fd = open(path.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) return 0;
  struct stat seen{};
  if (fstat(fd, &seen) == 0 && !S_ISDIR(seen.st_mode)) rights &= ~kReadDir;
  const PathBeneath rule{rights, fd};
  const int error = syscall(kAddRule, ruleset, kPathBeneath, &rule, 0) == 0 ? 0 : errno;
  close(fd);
  return error;
}

int allow_port(int ruleset, uint16_t port) {
  const NetPort rule{kConnect, port};
  return syscall(kAddRule, ruleset, kNetPort, &rule, 0) == 0 ? 0 : errno;
}

} // namespace

int no_new_privileges() {
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno;
}

int drop_capabilities() {
  for (int capability = 0; capability < 64; ++capability) {
    if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) != 1) continue;
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0); // refused to who has none: nothing to drop
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2]{};
  return syscall(SYS_capset, &header, none) == 0 ? 0 : errno;
}

int landlock_abi() {
  const long abi = syscall(kCreateRuleset, nullptr, 0, kVersion);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

int landlock(const std::vector<std::string> &readable, const std::vector<std::string> &devices,
             uint16_t port) {
  const int abi = landlock_abi();
  if (abi == 0) return ENOSYS;
  Ruleset rules{file_rights(abi), 3, 3}; // TCP bind and connect; abstract sockets and signals
  const int fd = static_cast<int>(syscall(kCreateRuleset, &rules, ruleset_bytes(abi), 0));
  if (fd < 0) return errno;
  int error = 0;
  for (const auto &path : readable) {
    if (error == 0) error = allow(fd, path, kReadFile | kReadDir);
  }
  const uint64_t use = (kReadFile | kReadDir | kWriteFile | kIoctl) & rules.files;
  for (const auto &path : devices) {
    if (error == 0) error = allow(fd, path, use);
  }
  if (error == 0 && port != 0 && abi >= 4) error = allow_port(fd, port);
  if (error == 0 && syscall(kRestrictSelf, fd, 0) != 0) error = errno;
  close(fd);
  return error;
}

} // namespace edgeguard
