# SPDX-License-Identifier: Apache-2.0
"""What the operating system gives a loop that must be punctual. Whatever it refuses is said."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import resource
import threading
import time
from pathlib import Path

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_TIMER_ABSTIME = 1
_IPC_LOCK = 14  # CAP_IPC_LOCK
_PRIORITY = 50  # below the kernel's own interrupt threads, which a camera needs

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def sleep_until(t_ns: int) -> None:
    """Sleep to a moment of CLOCK_MONOTONIC; returns at once when it has passed.

    Absolute, so that whatever holds up the caller on its way here does not add to the sleep.
    """
    until = _Timespec(t_ns // 1_000_000_000, t_ns % 1_000_000_000)
    while time.monotonic_ns() < t_ns:
        _libc.clock_nanosleep(time.CLOCK_MONOTONIC, _TIMER_ABSTIME, ctypes.byref(until), None)


def prepare() -> list[str]:
    """Make the calling thread the one that is punctual; returns what was refused, in words.

    Memory stays in RAM, the garbage collector rests (the loop makes no cycles; what there is now is
    never looked at again), and the thread goes before all ordinary ones; so do the other Python
    threads of the process, since one that is put aside while it holds the interpreter's lock would
    keep this one waiting. Processes and threads that are started later inherit none of it.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    return [refused for refused in (_lock_memory(), _first_in_first_out()) if refused]


def _lock_memory() -> str | None:
    advice = "give CAP_IPC_LOCK, or LimitMEMLOCK=infinity in systemd"
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if most != resource.RLIM_INFINITY and not _has_capability(_IPC_LOCK):
        # Under a limit, locking would succeed now and every later mapping beyond it would fail.
        return f"memory is not locked: at most {most} bytes may be; {advice}"
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0:
        return None
    return f"memory is not locked: {os.strerror(ctypes.get_errno())}; {advice}"


def _has_capability(number: int) -> bool:
    found = re.search(
        rb"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_bytes(), re.MULTILINE
    )
    return found is not None and int(found[1], 16) >> number & 1 == 1


def _first_in_first_out() -> str | None:
    policy, own = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, threading.get_native_id()
    try:
        for thread in threading.enumerate():
            if thread.native_id is not None:
                other = thread.native_id != own
                os.sched_setscheduler(thread.native_id, policy, os.sched_param(_PRIORITY - other))
    except OSError as error:
        advice = "give CAP_SYS_NICE, or LimitRTPRIO=50 in systemd"
        return f"no FIFO priority: {error.strerror}; {advice}"
    return None
