# SPDX-License-Identifier: Apache-2.0
"""Many injections into the twin, in several processes; each is its seed's and nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from random import Random
from typing import Any

from edgeguard.processes import processes
from firmware_bridge.campaign.case import Case, Fault
from firmware_bridge.campaign.registry import FAULTS
from firmware_bridge.campaign.store import Row, Store

CHUNK = 25
BY_ID = {fault.id: fault for fault in FAULTS}
Progress = Callable[[str, int], None]
Chunk = Callable[[str, Sequence[int]], list[Row]]


def inject(
    fault: Fault, index: int, seed: int, table: Mapping[str, Any],
    firmware: Mapping[str, Any] | None = None,
) -> Row:  # fmt: skip
    """One injection, the same every time."""
    case = Case(fault, index, table, Random(f"{seed}/{fault.id}/{index}"), firmware)
    fault.inject(case)
    return case.result().row()


def chunk(
    fault: str, indices: Sequence[int], seed: int, table: Mapping[str, Any],
    firmware: Mapping[str, Any] | None = None,
) -> list[Row]:  # fmt: skip
    """Some injections into the twin.

    firmware: another table that host and microcontroller run; it is judged by `table` all the same.
    """
    return [inject(BY_ID[fault], i, seed, table, firmware) for i in indices]


def campaign(
    counts: Mapping[str, int],
    store: Store,
    make: Chunk,
    *,
    jobs: int = 1,
    progress: Progress = lambda fault, done: None,
    each: int = CHUNK,
    pinned: bool = False,
) -> None:
    """Make the injections that the store lacks: so many of each fault.

    make: called with a fault's id and so many indices (`each`), in other processes where there are
    several jobs; pinned: each of these on a core of its own.
    """
    work = [
        (fault, missing[at : at + each])
        for fault, n in counts.items()
        for missing in [store.missing(fault, n)]
        for at in range(0, len(missing), each)
    ]
    work.sort(key=lambda one: one[1][0])  # all faults side by side, so that each is seen early
    for rows in _done(make, work, jobs, pinned):
        store.add(rows)
        progress(rows[0]["f"], len(rows))


def _done(
    make: Chunk, work: list[tuple[str, list[int]]], jobs: int, pinned: bool
) -> Iterator[list[Row]]:
    if jobs <= 1:
        yield from (make(*one) for one in work)
        return
    with processes(jobs, pinned=pinned) as pool:
        waiting: list[Future[list[Row]]] = [pool.submit(make, *one) for one in work]
        for done in as_completed(waiting):
            yield done.result()
