// SPDX-License-Identifier: Apache-2.0
// What Linux offers a process to give up for good. Each returns 0, or the errno.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace edgeguard {

int no_new_privileges();
int drop_capabilities();
// The version of Landlock here, 0 without it.
int landlock_abi();
// Only these files and folders may be read and only those devices used. All else is refused:
// writing, executing, TCP, signals and abstract sockets to the outside, as far as this ABI knows.
// ``port``: TCP may connect to it; 0: to none.
int landlock(const std::vector<std::string> &readable, const std::vector<std::string> &devices,
             uint16_t port);
bool has_seccomp();
// Refuse, with EPERM, the calls that a worker has no use for. ``devices``: leave those that an
// accelerator's driver needs (opening for writing, anonymous files). ``family``: leave those that a
// TCP client in this family of addresses needs; 0: none.
int seccomp(bool devices, int family);

// A new process with these descriptors, stdin from nowhere, and stdout and stderr to nowhere when
// ``quiet``.
int spawn(const std::vector<std::string> &arguments, const std::vector<std::string> &environment,
          const std::vector<int> &kept, bool quiet, int &pid);

} // namespace edgeguard
