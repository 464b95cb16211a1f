# SPDX-License-Identifier: Apache-2.0
"""Work in several processes, none of which outlives the one that wants it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any

from edgeguard.sandbox import end_with


@contextmanager
def processes(jobs: int, *, pinned: bool = False) -> Iterator[ProcessPoolExecutor]:
    """So many fresh interpreters, killed with this one however it ends; pinned: each stays on a
    core, in turn. With the thread that submits first, to be exact: that must be one that lasts.
    Ctrl-C ends them at once, and what was not begun is not waited for.
    """
    context = multiprocessing.get_context("spawn")
    cores = context.SimpleQueue()
    for core in islice(cycle(sorted(os.sched_getaffinity(0))), jobs if pinned else 0):
        cores.put(core)
    with ProcessPoolExecutor(
        jobs, context, initializer=_begin, initargs=(os.getpid(), cores if pinned else None)
    ) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(parent: int, cores: Any) -> None:
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # of the whole group: it would begin the next one
    if cores is not None:
        os.sched_setaffinity(0, {cores.get()})
