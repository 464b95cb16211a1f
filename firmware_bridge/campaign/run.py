# SPDX-License-Identifier: Apache-2.0
"""Many injections into the twin, in several processes; each is its seed's and nobody else's."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from random import Random
from typing import Any

from firmware_bridge.campaign.case import Case, Fault
from firmware_bridge.campaign.registry import FAULTS
from firmware_bridge.campaign.store import Row, Store

CHUNK = 25
BY_ID = {fault.id: fault for fault in FAULTS}
Progress = Callable[[str, int], None]


def inject(
    fault: Fault, index: int, seed: int, table: Mapping[str, Any],
    firmware: Mapping[str, Any] | None = None,
) -> Row:  # fmt: skip
    """One injection, the same every time."""
    case = Case(fault, index, table, Random(f"{seed}/{fault.id}/{index}"), firmware)
    fault.inject(case)
    return case.result().row()


def _chunk(
    fault: str, indices: Sequence[int], seed: int, table: Mapping[str, Any],
    firmware: Mapping[str, Any] | None,
) -> list[Row]:  # fmt: skip
    return [inject(BY_ID[fault], i, seed, table, firmware) for i in indices]


def campaign(
    faults: Sequence[Fault],
    n: int,
    seed: int,
    table: Mapping[str, Any],
    store: Store,
    *,
    firmware: Mapping[str, Any] | None = None,
    jobs: int = 1,
    progress: Progress = lambda fault, done: None,
) -> None:
    """Make the injections that the store lacks, n of each fault.

    firmware: another table that host and microcontroller run; it is judged by `table` all the same.
    """
    work = [
        (fault.id, missing[at : at + CHUNK], seed, table, firmware)
        for fault in faults
        for missing in [store.missing(fault.id, n)]
        for at in range(0, len(missing), CHUNK)
    ]
    work.sort(key=lambda one: one[1][0])  # all faults side by side, so that each is seen early
    for rows in _done(work, jobs):
        store.add(rows)
        progress(rows[0]["f"], len(rows))


def _done(work: list[tuple[Any, ...]], jobs: int) -> Iterator[list[Row]]:
    if jobs <= 1:
        yield from (_chunk(*one) for one in work)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        waiting: list[Future[list[Row]]] = [pool.submit(_chunk, *one) for one in work]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
