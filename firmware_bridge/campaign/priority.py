# SPDX-License-Identifier: Apache-2.0
"""A microcontroller has a processor to itself; an emulated one gets what comes closest."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def first_in_line(pid: int) -> bool:
    """Real-time priority for all threads that a process has now, not for its children. False:
    that is not permitted here (it takes root or CAP_SYS_NICE)."""
    if not hasattr(os, "sched_setscheduler"):
        return False
    done = False
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(int(task.name), policy, os.sched_param(1))
            done = True
    return done
