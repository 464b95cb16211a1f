// SPDX-License-Identifier: Apache-2.0
// A new process without holding anybody up: the thread that calls stands still until the new
// program has begun, which takes milliseconds on a busy machine, and no other does.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

#include "confine.hpp"

namespace edgeguard {
namespace {

std::vector<char *> pointers(const std::vector<std::string> &texts) {
  std::vector<char *> found;
  for (const auto &text : texts) found.push_back(const_cast<char *>(text.c_str()));
  found.push_back(nullptr);
  return found;
}

int add_files(posix_spawn_file_actions_t *files, const std::vector<int> &kept, bool quiet) {
  int error = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
  for (const int out : {1, 2}) {
    if (quiet && error == 0) {
      error = posix_spawn_file_actions_addopen(files, out, "/dev/null", O_WRONLY, 0);
    }
  }
  for (const int fd : kept) { // onto itself: it is no longer closed by the new program
    if (error == 0) error = posix_spawn_file_actions_adddup2(files, fd, fd);
  }
  return error;
}

// What a Python process ignores or blocks is nothing that the new one should.
int set_signals(posix_spawnattr_t *attributes) {
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int number : {SIGPIPE, SIGXFSZ, SIGXCPU}) sigaddset(&defaults, number);
  int error = posix_spawnattr_setsigmask(attributes, &none);
  if (error == 0) error = posix_spawnattr_setsigdefault(attributes, &defaults);
  if (error == 0) {
    error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  return error;
}

} // namespace

int spawn(const std::vector<std::string> &arguments, const std::vector<std::string> &environment,
          const std::vector<int> &kept, bool quiet, int &pid) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  int error = posix_spawn_file_actions_init(&files);
  if (error != 0) return error;
  error = posix_spawnattr_init(&attributes);
  if (error == 0) {
    error = add_files(&files, kept, quiet);
    if (error == 0) error = set_signals(&attributes);
    if (error == 0) {
      error = posix_spawn(&pid, arguments.front().c_str(), &files, &attributes,
                          pointers(arguments).data(), pointers(environment).data());
    }
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&files);
  return error;
}

} // namespace edgeguard
