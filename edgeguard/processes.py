# SPDX-License-Identifier: Apache-2.0
"""Work in several processes, none of which outlives the one that wants it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any, TypeVar

from edgeguard.sandbox import end_with

T = TypeVar("T")


_stop = {"asked": False, "busy": False}
"""Of a worker: whether Ctrl-C was pressed, and whether it works on something."""


class _Pool(ProcessPoolExecutor):
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return super().submit(_unless_stopped, fn, *args, **kwargs)


@contextmanager
def processes(jobs: int, *, pinned: bool = False) -> Iterator[ProcessPoolExecutor]:
    """So many fresh interpreters, killed with this one however it ends; pinned: each stays on a
    core, in turn. With the thread that submits first, to be exact: that must be one that lasts.
    Whoever leaves by an exception waits for what is being done and for nothing behind it; Ctrl-C
    ends that as well, in order.
    """
    context = multiprocessing.get_context("spawn")
    cores = context.SimpleQueue()
    for core in islice(cycle(sorted(os.sched_getaffinity(0))), jobs if pinned else 0):
        cores.put(core)
    with _Pool(
        jobs, context, initializer=_begin, initargs=(os.getpid(), cores if pinned else None)
    ) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _begin(parent: int, cores: Any) -> None:
    end_with(parent)
    signal.signal(signal.SIGINT, _interrupted)  # a terminal sends it to the whole group
    if cores is not None:
        os.sched_setaffinity(0, {cores.get()})


def _interrupted(*_: object) -> None:
    _stop["asked"] = True
    if _stop["busy"]:
        raise KeyboardInterrupt


def _unless_stopped(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """The queue gives a worker the next one before anybody can cancel it."""
    _stop["busy"] = True
    try:
        if _stop["asked"]:
            raise KeyboardInterrupt
        return fn(*args, **kwargs)
    finally:
        _stop["busy"] = False
