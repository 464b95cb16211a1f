# SPDX-License-Identifier: Apache-2.0
"""Handfuls made by other processes, or by a Dask cluster, are those that one process makes."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="members run on it")
pytest.importorskip("ai_edge_litert", reason="one member runs on it")

from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks import ahead, campaign, corpus
from edgeguard.lab.attacks.inputs import Request, members, pictures, read_rightly, scene, wanted
from tests.lab.signs import signs

torch.set_num_threads(1)  # fixtures of this module run before the one of conftest
ASKED = ("noise", "fgsm")
Columns = dict[tuple[str, str], dict[str, np.ndarray]]


def few(folder: Path, seed: int = 0) -> Request:
    """Two handfuls of each attack, on a member in ONNX and one in TFLite."""
    x, y = signs(120)
    order = np.random.default_rng(seed).permutation(len(y))
    np.savez(folder / "few.npz", x=x[order].transpose(0, 2, 3, 1), y=y[order])
    both, results = ("plain", "compact"), folder / "one"
    results.mkdir(exist_ok=True)
    return Request(None, 27, True, both, ASKED, folder / "few.npz", None, results)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Request:
    return few(tmp_path_factory.mktemp("ahead"))


def opened(request: Request) -> tuple[Any, Any]:
    seen = pictures(request)
    return {name: scene(path, card, seen, True) for name, path, card in members(request)}, seen


def made(request: Request, executor: Executor | None = None) -> Columns:
    """By member and attack, all that the evaluation finds in the corpus."""
    scenes, seen = opened(request)
    if executor is not None:
        ahead.make(request, scenes, seen, executor)
    found = {}
    for name, of in scenes.items():
        x, y = read_rightly(of.victim, seen, request.many)
        for job in wanted(request):
            n = ahead.images_of(job, len(y), request)
            before = _files(request.results)
            outcome = campaign.run(of, job, x[:n], y[:n], request.results)
            assert executor is None or _files(request.results) == before  # nothing was left to make
            assert outcome.folder is not None
            found[name, job.name] = corpus.read(outcome.folder)
    return found


def _files(folder: Path) -> set[tuple[str, int]]:
    return {(str(p), p.stat().st_mtime_ns) for p in folder.rglob("*.npz")}


@pytest.fixture(scope="module")
def alone(asked: Request) -> Columns:
    return made(asked)


def same(found: Columns, other: Columns) -> None:
    assert set(found) == set(other)
    assert len(found) == 4
    for of, rows in found.items():
        assert len(rows["y"]) > campaign.CHUNK
        for key in set(rows) - {"cpu_s"}:
            np.testing.assert_array_equal(rows[key], other[of][key], f"{of} {key}")


def elsewhere(request: Request, name: str) -> Request:
    there = request.results.with_name(name)
    there.mkdir()
    return replace(request, results=there)


def test_two_processes_make_the_same(asked: Request, alone: Columns) -> None:
    with ahead.workers(2, None) as executor:
        same(made(elsewhere(asked, "two"), executor), alone)


def test_a_dask_cluster_whose_worker_has_two_threads_makes_the_same(
    asked: Request, alone: Columns
) -> None:
    distributed = pytest.importorskip("distributed", reason="--scheduler needs the extra dask")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
        ) as cluster,
        ahead.workers(1, cluster.scheduler_address) as executor,
    ):
        same(made(elsewhere(asked, "dask"), executor), alone)


def test_a_worker_with_other_pictures_is_refused(tmp_path: Path) -> None:
    request = few(tmp_path)
    scenes, seen = opened(request)
    few(tmp_path, seed=1)  # what the worker opens
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(EdgeguardError, match=r"a worker would file it as noise\.linf\.8-.*the same"),
    ):
        ahead.make(request, scenes, seen, executor)
    assert not _files(request.results)


def test_a_worker_that_lives_on_opens_what_was_replaced(tmp_path: Path) -> None:
    """One worker for two runs; between them other pictures take the place of the first."""
    request = replace(few(tmp_path), attacks=("noise",))
    with ThreadPoolExecutor(1) as executor:
        ahead.make(request, *opened(request), executor)
        few(tmp_path, seed=1)
        scenes, seen = opened(request)
        ahead.make(request, scenes, seen, executor)
        of = scenes["plain"]
        x, y = read_rightly(of.victim, seen, request.many)
        (job,) = wanted(request)
        kept = campaign.folder_of(of, job, x[: len(y)], request.results)
        np.testing.assert_array_equal(corpus.read(kept)["clean"], x)


class Interrupted(Executor):
    """Ctrl-C comes while the first piece of work is waited for."""

    def __init__(self) -> None:
        self.given: list[Future[Any]] = []

    def submit(self, fn: Any, /, *args: Any, **more: Any) -> Future[Any]:
        self.given.append(Future())
        if len(self.given) == 1:
            self.given[0].set_exception(KeyboardInterrupt())
        return self.given[-1]


def test_what_has_not_begun_is_given_up_with_the_command(tmp_path: Path) -> None:
    request = replace(few(tmp_path), attacks=("fgsm", "substitute.linf.16"))
    executor = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        ahead.make(request, *opened(request), executor)
    # a member's two handfuls of FGSM are two pieces, those of a substitute learned once are one
    assert [future.cancelled() for future in executor.given] == [False] + 5 * [True]


class Dying(Executor):
    """A worker is killed while its piece is waited for, or before the last is given to it."""

    def __init__(self, error: Exception, at_submit: bool) -> None:
        self.error, self.at_submit, self.given = error, at_submit, 0

    def submit(self, fn: Any, /, *args: Any, **more: Any) -> Future[Any]:
        self.given += 1
        if self.at_submit and self.given == 3:
            raise self.error
        future: Future[Any] = Future()
        if not self.at_submit:
            future.set_exception(self.error)
        return future


@pytest.mark.parametrize("at_submit", [False, True])
@pytest.mark.parametrize("cluster", [False, True])
def test_a_worker_that_dies_is_told_without_a_traceback(
    tmp_path: Path, cluster: bool, at_submit: bool
) -> None:
    error: Exception = BrokenProcessPool("terminated abruptly")
    if cluster:
        distributed = pytest.importorskip("distributed", reason="--scheduler needs the extra dask")
        error = distributed.KilledWorker("a piece", None, 3)
    request = few(tmp_path)
    with pytest.raises(EdgeguardError, match=r"a worker died.*fewer --jobs, what is there in .*"):
        ahead.make(request, *opened(request), Dying(error, at_submit))


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="--scheduler needs the extra dask")
    monkeypatch.setattr(ahead, "PATIENCE_S", 1)
    with (
        pytest.raises(EdgeguardError, match=r"--scheduler tcp://127\.0\.0\.1:9: "),
        ahead.workers(1, "tcp://127.0.0.1:9"),
    ):
        pass


def test_a_cluster_without_a_worker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="--scheduler needs the extra dask")
    monkeypatch.setattr(ahead, "PATIENCE_S", 1)
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, protocol="tcp", dashboard_address=None
        ) as cluster,
        pytest.raises(EdgeguardError, match=r"--scheduler tcp://.*: .*worker"),
        ahead.workers(1, cluster.scheduler_address),
    ):
        pass
