# SPDX-License-Identifier: Apache-2.0
"""Handfuls of attacked pictures made ahead of their evaluation, in several processes or on a Dask
cluster.

A handful depends on the request and on nothing else, so each is made alone, but for attacks that
make something first for all of them; the evaluation then finds it in the corpus as it would one of
an earlier run. A worker opens a model and the pictures once, and works on one piece at a time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks import campaign, corpus, tables
from edgeguard.lab.attacks.inputs import (
    Pictures,
    Request,
    members,
    picture_files,
    pictures,
    read_rightly,
    scene,
    twin_of,
)
from edgeguard.lab.attacks.inputs import wanted as wanted_jobs
from edgeguard.lab.attacks.plan import Job, Scene
from edgeguard.lab.attacks.victim import U8, Ints
from edgeguard.processes import processes

_ALONE = Lock()
"""A LiteRT interpreter and torch's generator are one for all threads of a worker."""
PATIENCE_S = 10  # with a scheduler, and then with its first worker
MOST_JOBS = 16  # of processes by default: each holds a model and the pictures


@dataclass(frozen=True)
class Unit:
    """Handfuls of one job in one piece of work: which, and where they belong."""

    member: str
    attack: str
    threat: str
    images: int
    """That the job attacks; `firsts` are those that handfuls begin with."""
    firsts: tuple[int, ...]
    folder: Path

    def rows(self, first: int) -> slice:
        """Of one handful."""
        return slice(first, min(first + campaign.CHUNK, self.images))


def images_of(job: Job, there: int, request: Request) -> int:
    """How many images a job attacks."""
    return min(there, request.many, job.quick if request.quick else request.many)


def make(request: Request, scenes: Mapping[str, Scene], seen: Pictures, executor: Executor) -> None:
    """What the corpus lacks of attacks on single members, as it comes. Raises EdgeguardError where
    a worker has other sources, models or pictures, or dies."""
    units = list(_lacking(request, scenes, seen))
    with tables.progress() as bar:
        task = bar.add_task("ahead", total=sum(len(unit.firsts) for unit in units))
        waiting: dict[Future[Any], Unit] = {}
        try:
            for unit in units:
                waiting[executor.submit(_handfuls, request, unit)] = unit
            for future in as_completed(waiting):
                unit = waiting[future]
                for first, row in zip(unit.firsts, future.result(), strict=True):
                    corpus.write(campaign.file_of(unit.folder, first), row)
                bar.advance(task, len(unit.firsts))
        except BaseException as error:  # Ctrl-C too: what has not begun is not worked through
            for future in waiting:
                future.cancel()
            if _is_a_death(error):
                raise EdgeguardError(
                    "a worker died, as one does that is killed or has no memory left; run again "
                    f"with fewer --jobs, what is there in {request.results} is kept"
                ) from None
            raise


def _is_a_death(error: BaseException) -> bool:
    """Of a process, or of a cluster's worker, of which there is none without the extra dask."""
    if isinstance(error, BrokenExecutor):
        return True
    distributed = sys.modules.get("distributed")
    return distributed is not None and isinstance(error, distributed.KilledWorker)


def _lacking(request: Request, scenes: Mapping[str, Scene], seen: Pictures) -> Iterator[Unit]:
    for name, of in scenes.items():
        x, y = read_rightly(of.victim, seen, request.many)
        for job in wanted_jobs(request):
            if of.twin is None and job.by_twin:
                continue
            n = images_of(job, len(y), request)
            folder = campaign.folder_of(of, job, x[:n], request.results)
            corpus.begin(folder, corpus.about(of.victim.path, job.name, job.threat))
            whole = Unit(name, job.name, job.threat.name, n, (), folder)
            firsts = tuple(
                first for first in range(0, n, campaign.CHUNK)
                if corpus.kept(campaign.file_of(folder, first), x[whole.rows(first)],
                               y[whole.rows(first)]) is None
            )  # fmt: skip
            pieces = [firsts] if campaign.made_once(job) else [(first,) for first in firsts]
            yield from (replace(whole, firsts=piece) for piece in pieces if piece)


def _handfuls(request: Request, unit: Unit) -> list[dict[str, Any]]:
    """In the worker."""
    with _ALONE:
        torch.set_num_threads(1)
        alone = replace(request, members=(unit.member,), results=Path())
        jobs, of, x, y = _opened(alone, _state(alone))
        job = jobs[unit.attack, unit.threat]
        own = campaign.folder_of(of, job, x[: unit.images], request.results)
        if own.name != unit.folder.name:
            raise EdgeguardError(
                f"{unit.folder}: a worker would file it as {own.name}, so its edgeguard, packages, "
                "models or pictures are others; give every worker the same"
            )
        rows = [unit.rows(first) for first in unit.firsts]
        return [campaign.attacked(of, job, x[r], y[r]) for r in rows]


def _state(request: Request) -> tuple[Any, ...]:
    """Of the one member that is asked for and the pictures: what a worker that lives on has to open
    again when it changes."""
    ((_, path, card),) = members(request)
    files = [path, twin_of(path), *picture_files(request)]
    stats = [(file, file.stat()) for file in files if file.is_file()]
    return (campaign.card_bytes(card), *((f, s.st_mtime_ns, s.st_size) for f, s in stats))


@lru_cache(maxsize=1)
def _opened(
    request: Request, state: tuple[Any, ...]
) -> tuple[dict[tuple[str, str], Job], Scene, U8, Ints]:
    """Jobs, and the one member that is asked for; state: of the files, see `_state`."""
    seen = pictures(request)
    ((_, path, card),) = members(request)
    of = scene(path, card, seen, request.quick)
    jobs = {(job.name, job.threat.name): job for job in wanted_jobs(request)}
    return jobs, of, *read_rightly(of.victim, seen, request.many)


@contextmanager
def workers(jobs: int, scheduler: str | None) -> Iterator[Executor | None]:
    """So many processes, or the Dask cluster whose scheduler has that address; None for one
    process. Raises EdgeguardError where nobody answers, or the cluster has no worker."""
    if scheduler is not None:
        with _cluster(scheduler) as pool:
            yield pool
    elif jobs == 1:
        yield None
    else:
        with processes(jobs) as pool:
            yield pool


@contextmanager
def _cluster(scheduler: str) -> Iterator[Executor]:
    from distributed import Client, TimeoutError

    with ExitStack() as stack:
        try:
            client = stack.enter_context(Client(scheduler, timeout=PATIENCE_S))
            client.wait_for_workers(1, timeout=PATIENCE_S)
        except (OSError, ValueError, TimeoutError) as error:
            raise EdgeguardError(f"--scheduler {scheduler}: {error}") from None
        yield stack.enter_context(client.get_executor(pure=False))


def cores() -> int:
    """That this process may use, but no more than MOST_JOBS."""
    return min(len(os.sched_getaffinity(0)), MOST_JOBS)
