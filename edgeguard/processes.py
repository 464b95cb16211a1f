# SPDX-License-Identifier: Apache-2.0
"""Work in several processes, none of which outlives the one that wants it."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from typing import Any

from edgeguard.sandbox import end_with


def processes(jobs: int, *, pinned: bool = False) -> ProcessPoolExecutor:
    """So many fresh interpreters, killed with this one however it ends; pinned: each stays on a
    core, in turn. With the thread that submits first, to be exact: that must be one that lasts.
    """
    context = multiprocessing.get_context("spawn")
    cores = context.SimpleQueue()
    for core in islice(cycle(sorted(os.sched_getaffinity(0))), jobs if pinned else 0):
        cores.put(core)
    return ProcessPoolExecutor(
        jobs, context, initializer=_begin, initargs=(os.getpid(), cores if pinned else None)
    )


def _begin(parent: int, cores: Any) -> None:
    end_with(parent)
    if cores is not None:
        os.sched_setaffinity(0, {cores.get()})
