# SPDX-License-Identifier: Apache-2.0
"""Marabou's opinion of toy int8 nets, against ONNX Runtime on every 8-bit input of the box."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")
pytest.importorskip("maraboupy", reason="needs the extra solver (x86-64)")

import torch

from edgeguard.lab.verification.interval import Bounds, bounds, box
from edgeguard.lab.verification.maps import Dense
from edgeguard.lab.verification.net import Grid, Net, Steps
from edgeguard.lab.verification.runtime import Runtime
from edgeguard.lab.verification.second import (
    CONFIRMED,
    CONTRADICTED,
    OPEN,
    Opinion,
    second_opinion,
    starts,
)
from tests.lab.verification import toys


def opinion(
    net: Net, runtime: Runtime, q: torch.Tensor, radius: int, rank: int
) -> tuple[str, bool]:
    """Of the class that is the rank-th best at q [1, *shape]; and whether it always is the best."""
    low, high = box(net, q, radius)
    y = int(runtime.run(q)[0].argsort(descending=True)[rank])

    def beaten(scores: torch.Tensor) -> torch.Tensor:
        others = scores.clone()
        others[:, y] = -torch.inf
        return others.amax(1) >= scores[:, y]

    says = second_opinion(
        net, bounds(net, low, high), y, lambda some: bool(beaten(runtime.run(some[None]))[0])
    )
    assert says.refutable  # a few pixels: always asked from the input on
    return says.says, not bool(beaten(runtime.run(toys.every(low, high))).any())


def test_what_marabou_confirms_is_so_and_what_it_contradicts_is_not(tmp_path: Path) -> None:
    seen: Counter[tuple[str, bool]] = Counter()
    for kind in toys.KINDS:
        for seed in (1, 2):
            net, runtime = toys.opened(kind, seed, tmp_path)
            g = torch.Generator().manual_seed(seed)
            for radius, far, rank in ((1, 0, 0), (2, 30, 0), (1, 120, 0), (1, 120, 1)):
                q = toys.near_border(runtime, g, far)
                seen[opinion(net, runtime, q, radius, rank)] += 1
    assert seen[CONFIRMED, True] >= 10
    assert seen[CONTRADICTED, False] >= 4  # the second best class, to begin with
    assert seen[CONFIRMED, False] == seen[CONTRADICTED, True] == 0


def near(tmp_path: Path) -> tuple[Net, Bounds, int]:
    """A net, the bounds of a box of radius 1 and its class."""
    net, runtime = toys.opened("dense", 1, tmp_path)
    q = toys.near_border(runtime, torch.Generator().manual_seed(1), 120)
    return net, bounds(net, *box(net, q, 1)), int(runtime.run(q)[0].argmax())


def never(some: torch.Tensor) -> bool:
    return False


def test_a_question_that_is_too_large_stays_open(tmp_path: Path) -> None:
    net, found, y = near(tmp_path)
    assert second_opinion(net, found, y, never) == Opinion(CONFIRMED, True)
    assert second_opinion(net, found, y, never, most=0) == Opinion(OPEN, False)


def test_the_earliest_layer_that_is_small_enough_is_asked_first(tmp_path: Path) -> None:
    net, found, _ = near(tmp_path)
    every = starts(net, found)
    assert every[0] == 0
    assert every == sorted(every)
    assert len(every) > 1
    assert starts(net, found, behind_input(found, every)) == every[1:]


def behind_input(found: Bounds, every: list[int]) -> int:
    """Free integers of all layers that a question can start at but the input."""
    return sum(int((found.low[n] < found.high[n]).sum()) for n in every[1:])


def test_a_question_that_starts_behind_the_input_cannot_contradict(tmp_path: Path) -> None:
    net, found, y = near(tmp_path)
    most = behind_input(found, starts(net, found))
    wrong = (y + 1) % 3
    assert second_opinion(net, found, wrong, lambda some: True).says == CONTRADICTED
    assert second_opinion(net, found, wrong, lambda some: True, most=most) == Opinion(OPEN, False)


def test_what_reaches_beyond_the_ends_of_a_query_is_not_confirmed() -> None:
    """Where x is above 10, 1e5 x leaves the million steps that Marabou is told of: a rival that
    wins only there must not vanish."""

    def steps(rows: list[list[float]], constant: list[float], raw: bool) -> Steps:
        weight, shift = torch.tensor(rows).double(), torch.tensor(constant).double()
        maps = (Dense(weight, torch.ones(len(rows)).double()),)
        exact, grid = torch.tensor(0.0).double(), Grid(1.0, 0, -128, 127)
        return Steps((0,), maps, shift, shift, (0,), exact, grid, -128, 127, "", raw)

    large = steps([[1e5], [1.0]], [0.0, 0.0], False)
    scores = replace(steps([[0.0, 0.0], [0.0, 1.0]], [50.0, 0.0], True), inputs=(1,))
    net = Net(Grid(1.0, 0, -128, 127), (1,), False, (large, scores), 2, "x", "y")
    found = bounds(net, torch.tensor([[-128.0]]).double(), torch.tensor([[127.0]]).double())
    assert second_opinion(net, found, 0, never) == Opinion(OPEN, False)
