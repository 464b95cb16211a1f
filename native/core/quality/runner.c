/* SPDX-License-Identifier: Apache-2.0 */
/* Runs tests against one mutant, each in a child of its own:
 *   runner MUTANT.so CODE.so (TEST.so CPU_MS)...
 * The mutant is loaded first and so takes the place of what CODE.so and the tests would call.
 * Prints one word and the test: killed (an assertion failed), crashed (a signal), timeout (CPU
 * time), broken (it did not load), or alive. A kill by a later test outranks a crash or time-out of
 * an earlier. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BROKEN = 99 };

static void *load(const char *path, int how) {
  void *handle = dlopen(path, RTLD_LAZY | how);
  if (!handle) {
    fprintf(stderr, "%s\n", dlerror());
    _exit(BROKEN);
  }
  return handle;
}

static void child(char **argv, const char *test, long ms) {
  struct itimerval limit = {{0, 0}, {ms / 1000, ms % 1000 * 1000}};
  struct rlimit memory = {1u << 30, 1u << 30}, none = {0, 0};
  int null = open("/dev/null", O_RDWR);
  setrlimit(RLIMIT_AS, &memory);
  setrlimit(RLIMIT_CORE, &none);
  load(argv[1], RTLD_GLOBAL);
  load(argv[2], RTLD_GLOBAL);
  void *handle = load(test, RTLD_LOCAL);
  int (*run)(void);
  void *symbol = dlsym(handle, "main");
  if (!symbol) _exit(BROKEN);
  memcpy(&run, &symbol, sizeof run);
  dup2(null, 1);
  dup2(null, 2);
  setitimer(ITIMER_PROF, &limit, NULL);
  _exit(run() == 0 ? 0 : 1);
}

static const char *verdict(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "alive";
  if (WIFEXITED(status) && WEXITSTATUS(status) == BROKEN) return "broken";
  if (WIFEXITED(status)) return "killed";
  return WTERMSIG(status) == SIGPROF ? "timeout" : "crashed";
}

int main(int argc, char **argv) {
  const char *word = "alive", *by = "-";
  for (int i = 3; i + 1 < argc; i += 2) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) child(argv, argv[i], strtol(argv[i + 1], NULL, 10));
    if (pid < 0 || waitpid(pid, &status, 0) != pid) return 1;
    const char *now = verdict(status);
    if (strcmp(now, "alive") != 0 && (strcmp(word, "alive") == 0 || strcmp(now, "killed") == 0))
      word = now, by = argv[i];
    if (strcmp(now, "killed") == 0 || strcmp(now, "broken") == 0) break;
    if (strcmp(now, "timeout") == 0) break; /* the others would hang as well */
  }
  printf("%s %s\n", word, by);
  return 0;
}
