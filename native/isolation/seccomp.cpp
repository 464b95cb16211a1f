// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "confine.hpp"

#if defined(__x86_64__)
#define EDGEGUARD_AUDIT_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define EDGEGUARD_AUDIT_ARCH AUDIT_ARCH_AARCH64
#elif defined(__arm__)
#define EDGEGUARD_AUDIT_ARCH AUDIT_ARCH_ARM
#endif

namespace edgeguard {

#ifndef EDGEGUARD_AUDIT_ARCH
bool has_seccomp() {
  return false;
}
int seccomp(bool, int) {
  return ENOSYS;
}
#else

namespace {

// The numbers from 424 on are the same everywhere, and older headers lack many. Of these only
// close_range, faccessat2, epoll_pwait2, the futexes, map_shadow_stack and mseal stay.
constexpr int kFirstCommon = 424, kLastCommon = 500;
constexpr int kCommonAllowed[] = {436, 439, 441, 449, 453, 454, 455, 456, 462};

constexpr int kRefused[] = {
    // other programs and processes
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    434,
    SYS_tkill,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_unshare,
    SYS_setns,
    SYS_chroot,
    SYS_pivot_root,
    SYS_personality,
    // sockets and messages
    SYS_socketpair,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_sendmmsg,
    SYS_recvmmsg,
    SYS_shmget,
    SYS_shmat,
    SYS_shmctl,
    SYS_msgget,
    SYS_msgsnd,
    SYS_msgctl,
    SYS_msgrcv,
    SYS_semget,
    SYS_semop,
    SYS_semctl,
    SYS_semtimedop,
#ifdef SYS_semtimedop_time64
    SYS_semtimedop_time64,
#endif
    SYS_mq_open,
    SYS_mq_unlink,
    // files, beside opening them
    SYS_truncate,
    SYS_fallocate,
    SYS_mknodat,
    SYS_mkdirat,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_linkat,
    SYS_symlinkat,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_utimensat,
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_fsetxattr,
    SYS_removexattr,
    SYS_lremovexattr,
    SYS_fremovexattr,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_fanotify_init,
    SYS_inotify_init1,
    452,
#ifdef SYS_open
    SYS_creat,
    SYS_mknod,
    SYS_mkdir,
    SYS_rmdir,
    SYS_unlink,
    SYS_rename,
    SYS_link,
    SYS_symlink,
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
    SYS_utimes,
    SYS_futimesat,
    SYS_fork,
    SYS_vfork,
    SYS_inotify_init,
#endif
#ifdef SYS_utime
    SYS_utime,
#endif
#ifdef SYS_renameat
    SYS_renameat,
#endif
// the same with wider arguments, on 32 bits
#ifdef SYS_truncate64
    SYS_truncate64,
#endif
#ifdef SYS_chown32
    SYS_chown32,
    SYS_lchown32,
    SYS_fchown32,
#endif
#ifdef SYS_utimensat_time64
    SYS_utimensat_time64,
#endif
#ifdef SYS_recvmmsg_time64
    SYS_recvmmsg_time64,
#endif
#ifdef SYS_clock_settime64
    SYS_clock_settime64,
    SYS_clock_adjtime64,
#endif
    // the machine
    SYS_mount,
    SYS_umount2,
    SYS_swapon,
    SYS_swapoff,
    SYS_reboot,
    SYS_kexec_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_acct,
    SYS_quotactl,
    SYS_syslog,
    SYS_sethostname,
    SYS_setdomainname,
    // its own scheduling class
    SYS_sched_setscheduler,
    SYS_sched_setparam,
    SYS_sched_setattr,
    SYS_setpriority,
    SYS_ioprio_set,
};
// What would send a signal to somebody else when a pipe moves, whatever Landlock says, and what
// would make the guard's end of an eventfd block.
constexpr int kRefusedFcntl[] = {F_SETOWN, F_SETSIG, F_SETOWN_EX};
constexpr int kRefusedIoctl[] = {FIONBIO, FIOASYNC, FIOSETOWN, SIOCSPGRP};
// What a TCP client needs: the calls, and not to wait for its socket.
constexpr int kUpperProtocol = 31; // TCP_ULP: what is above TCP then, Landlock may not know
constexpr int kClient[] = {SYS_socket,  SYS_connect,  SYS_sendto,
                           SYS_sendmsg, SYS_recvfrom, SYS_recvmsg};
constexpr int kRefusedWithoutDevices[] = {
    SYS_memfd_create,
    SYS_ftruncate,
#ifdef SYS_ftruncate64
    SYS_ftruncate64,
#endif
};

constexpr unsigned kEperm = SECCOMP_RET_ERRNO | EPERM, kEnosys = SECCOMP_RET_ERRNO | ENOSYS;

// A filter under construction: after every rule the number of the call is in the accumulator.
class Filter {
public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    jump(BPF_JEQ, EDGEGUARD_AUDIT_ARCH, 1, 0);
    give(SECCOMP_RET_KILL_PROCESS);
    number();
#if defined(__x86_64__)
    refuse_above(0x40000000); // the x32 numbers of the same calls
#endif
  }
  void refuse_above(unsigned first) {
    jump(BPF_JGE, first, 0, 1);
    give(kEperm);
  }
  void refuse(int call, unsigned with = kEperm) {
    jump(BPF_JEQ, unsigned(call), 0, 1);
    give(with);
  }
  // Unless the argument's low word, masked, is as wanted.
  void refuse_unless(int call, unsigned argument, unsigned mask, unsigned wanted) {
    jump(BPF_JEQ, unsigned(call), 0, 5);
    load(offsetof(seccomp_data, args) + 8 * argument); // little-endian: the low word comes first
    code_.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask));
    jump(BPF_JEQ, wanted, 1, 0);
    give(kEperm);
    number();
  }
  void refuse_if(int call, unsigned argument, unsigned wanted) {
    jump(BPF_JEQ, unsigned(call), 0, 4);
    load(offsetof(seccomp_data, args) + 8 * argument);
    jump(BPF_JEQ, wanted, 0, 1);
    give(kEperm);
    number();
  }
  int install() {
    give(SECCOMP_RET_ALLOW);
    sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    const long at =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    return at == 0 ? 0 : at > 0 ? EBUSY : errno; // > 0: a thread that could not follow
  }

private:
  void load(size_t offset) {
    code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offset)));
  }
  void number() { load(offsetof(seccomp_data, nr)); }
  void jump(unsigned how, unsigned value, unsigned char yes, unsigned char no) {
    code_.push_back(BPF_JUMP(static_cast<unsigned short>(BPF_JMP | how | BPF_K), value, yes, no));
  }
  void give(unsigned what) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, what)); }
  std::vector<sock_filter> code_;
};

void refuse_newer(Filter &filter) {
  for (int call = kFirstCommon; call <= kLastCommon; ++call) {
    bool allowed = false;
    for (const int known : kCommonAllowed) allowed = allowed || call == known;
    if (!allowed) filter.refuse(call, kEnosys); // as an older kernel says: libraries then fall back
  }
}

void refuse_fcntl(Filter &filter, int what) {
  filter.refuse_if(SYS_fcntl, 1, unsigned(what));
#ifdef SYS_fcntl64
  filter.refuse_if(SYS_fcntl64, 1, unsigned(what));
#endif
}

} // namespace

bool has_seccomp() {
  const unsigned action = SECCOMP_RET_ERRNO;
  return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int seccomp(bool devices, int family) {
  Filter filter;
  const auto self = static_cast<unsigned>(getpid());
  for (const int call : kRefused) filter.refuse(call);
  refuse_newer(filter); // io_uring, clone3, openat2, the new mounts, pidfd_getfd, ...
  filter.refuse_unless(SYS_clone, 0, CLONE_THREAD, CLONE_THREAD);
  filter.refuse_unless(SYS_kill, 0, ~0u, self); // abort() may end this process, nothing may another
  filter.refuse_unless(SYS_tgkill, 0, ~0u, self);
  filter.refuse_unless(SYS_prlimit64, 0, ~0u, 0);
  filter.refuse_if(SYS_prctl, 0, PR_SET_PDEATHSIG);
  // A thread's number cannot be told from another process's: only the caller itself.
  filter.refuse_unless(SYS_sched_setaffinity, 0, ~0u, 0);
  for (const int what : kRefusedFcntl) refuse_fcntl(filter, what);
  if (family == 0) {
    refuse_fcntl(filter, F_SETFL);
    for (const int call : kClient) filter.refuse(call);
  } else {
    filter.refuse_unless(SYS_socket, 0, ~0u, unsigned(family));
    filter.refuse_unless(SYS_socket, 1, 0xF, SOCK_STREAM);
    // Landlock asks in connect, and of TCP alone.
    filter.refuse_unless(SYS_socket, 2, ~unsigned(IPPROTO_TCP), 0);
    filter.refuse_unless(SYS_sendto, 3, MSG_FASTOPEN, 0);
    filter.refuse_unless(SYS_sendmsg, 2, MSG_FASTOPEN, 0);
    filter.refuse_if(SYS_setsockopt, 2, kUpperProtocol);
  }
  for (const int what : kRefusedIoctl) filter.refuse_if(SYS_ioctl, 1, unsigned(what));
  if (!devices) {
    const unsigned writes = O_ACCMODE | O_CREAT | O_TRUNC;
    for (const int call : kRefusedWithoutDevices) filter.refuse(call);
    filter.refuse_unless(SYS_openat, 2, writes, O_RDONLY);
#ifdef SYS_open
    filter.refuse_unless(SYS_open, 1, writes, O_RDONLY);
#endif
  }
  return filter.install();
}

#endif

} // namespace edgeguard
