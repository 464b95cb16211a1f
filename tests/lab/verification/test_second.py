# SPDX-License-Identifier: Apache-2.0
"""Marabou's opinion of toy int8 nets, against ONNX Runtime on every 8-bit input of the box."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")
pytest.importorskip("maraboupy", reason="needs the extra solver (x86-64)")

import torch

from edgeguard.lab.verification.interval import bounds, box
from edgeguard.lab.verification.net import Net
from edgeguard.lab.verification.runtime import Runtime
from edgeguard.lab.verification.second import CONFIRMED, CONTRADICTED, OPEN, second_opinion
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
    return says, not bool(beaten(runtime.run(toys.every(low, high))).any())


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


def test_a_question_that_is_too_large_stays_open(tmp_path: Path) -> None:
    net, runtime = toys.opened("dense", 1, tmp_path)
    q = toys.near_border(runtime, torch.Generator().manual_seed(1), 120)
    low, high = box(net, q, 1)
    y = int(runtime.run(q)[0].argmax())
    found = bounds(net, low, high)
    assert second_opinion(net, found, y, lambda some: False) == CONFIRMED
    assert second_opinion(net, found, y, lambda some: False, most=0) == OPEN
