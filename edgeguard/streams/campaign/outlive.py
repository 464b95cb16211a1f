# SPDX-License-Identifier: Apache-2.0
"""Injections in a child process: one that the deciding process dies of is a finding, not the end
of the campaign."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from edgeguard import sandbox

Row = dict[str, Any]
ENDS_S = 5.0


def outlived(
    make: Callable[[int], Row], indices: Sequence[int], dead: Callable[[int, str], Row]
) -> list[Row]:
    """What `make` returns for each index. Where its process ends it is what `dead` says, told how
    it ended, and another process goes on behind it. Raises RuntimeError for what `make` raises."""
    rows: list[Row] = []
    while len(rows) < len(indices):
        made, ending = _in_a_child(make, indices[len(rows) :])
        rows += made
        if len(rows) < len(indices):
            rows.append(dead(indices[len(rows)], ending))
    return rows


def _in_a_child(make: Callable[[int], Row], indices: Sequence[int]) -> tuple[list[Row], str]:
    """The rows that it made, and how it ended."""
    hear, tell = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _work(make, indices, parent, tell)
    os.close(tell)
    status = None
    try:
        with open(hear, "rb") as ear:
            lines = ear.read().split(b"\n")
        status = os.waitpid(child, 0)[1]
    finally:
        if status is None:
            _end(child)
    said = [json.loads(line) for line in lines[:-1]]  # the last one is empty, or cut off
    if said and "raised" in said[-1]:
        raise RuntimeError(said[-1]["raised"])
    return said, sandbox.ending(os.waitstatus_to_exitcode(status))


def _end(child: int) -> None:
    """After Ctrl-C, which it was told as well: it may remove what it has in files first."""
    end_s = time.monotonic() + ENDS_S
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > end_s:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def _work(make: Callable[[int], Row], indices: Sequence[int], parent: int, tell: int) -> None:
    """The child: never returns."""
    try:
        with contextlib.suppress(KeyboardInterrupt), open(tell, "wb", buffering=0) as mouth:
            sandbox.end_with(parent)
            try:
                for index in indices:
                    mouth.write(json.dumps(make(index)).encode() + b"\n")
            except Exception as error:
                said = {"raised": f"{type(error).__name__}: {error}"}
                mouth.write(json.dumps(said).encode() + b"\n")
    finally:
        os._exit(0)
