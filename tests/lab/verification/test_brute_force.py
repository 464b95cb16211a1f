# SPDX-License-Identifier: Apache-2.0
"""Verdicts on toy int8 nets against ONNX Runtime on every 8-bit input of the box."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")

from edgeguard.lab.verification import crown, milp
from edgeguard.lab.verification.attack import Attack
from edgeguard.lab.verification.interval import bounds, box
from edgeguard.lab.verification.maps import Dense
from edgeguard.lab.verification.net import Grid, Net, Steps
from edgeguard.lab.verification.runtime import Runtime
from edgeguard.lab.verification.verify import Effort, Verifier
from tests.lab.verification import toys

EFFORT = Effort(milp_s=20.0, attack=Attack(steps=3, restarts=1, corners=1))


@pytest.fixture(scope="module")
def toy_nets(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Net, Runtime]]:
    folder = tmp_path_factory.mktemp("toys")
    return [toys.opened(kind, seed, folder) for kind in toys.KINDS for seed in (1, 2)]


def truth(runtime: Runtime, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Scores of all inputs of a box."""
    return runtime.run(toys.every(low, high))


def robust(scores: torch.Tensor, y: int) -> bool:
    """Whether class y is strictly the largest in every row."""
    others = scores.clone()
    others[:, y] = -torch.inf
    return bool((others.amax(1) < scores[:, y]).all())


def refined(net: Net, low: torch.Tensor, high: torch.Tensor) -> list:  # type: ignore[type-arg]
    """Bounds by intervals, and the same tightened by CROWN in every layer."""
    plain, tight = bounds(net, low, high), bounds(net, low, high)
    for number, layer in enumerate(net.layers, 1):
        if isinstance(layer, Steps):
            crown.refine(net, tight, number)
    return [plain, tight]


def judge(net: Net, runtime: Runtime, q: torch.Tensor, radius: int) -> tuple[str, bool]:
    """The verifier's verdict and the truth; asserts that no bound excludes what happens."""
    low, high = box(net, q, radius)
    scores = truth(runtime, low, high)
    y = runtime.run(q).argmax(1)
    for found in refined(net, low, high):
        assert bool((found.low[net.output] <= scores).all())
        assert bool((scores <= found.high[net.output]).all())
        least = crown.margins(net, found, y)[0]
        assert bool((scores[:, y[0]][:, None] - scores >= least - 1e-9).all())
    verifier = Verifier(net, runtime, EFFORT)
    verdict = verifier.boxes(q, y, {radius: (low, high)})[0][radius]
    assert verifier.broken == 0
    if verdict.says == "falsified":
        assert verdict.input is not None
        assert not robust(runtime.run(verdict.input[None]), int(y[0]))
        assert bool(((low[0] <= verdict.input) & (verdict.input <= high[0])).all())
    return verdict.says, robust(scores, int(y[0]))


def test_no_wrong_verdict_on_any_toy(toy_nets: list[tuple[Net, Runtime]]) -> None:
    seen: dict[tuple[str, bool], int] = {}
    for number, (net, runtime) in enumerate(toy_nets):
        g = torch.Generator().manual_seed(number)
        for radius, rank in ((1, 0), (1 + number % 2, 30)):
            q = toys.near_border(runtime, g, rank)
            key = judge(net, runtime, q, radius)
            seen[key] = seen.get(key, 0) + 1
    assert ("certified", False) not in seen
    assert ("falsified", True) not in seen
    assert seen.get(("certified", True), 0) >= 2  # the test is not empty on either side
    assert seen.get(("falsified", False), 0) >= 2
    decided = sum(n for (says, _), n in seen.items() if says in ("certified", "falsified"))
    assert decided >= 0.8 * sum(seen.values())  # "unknown" is for ties within the rounding margin


@settings(max_examples=8, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(which=st.integers(0, 7), pixels=st.lists(st.integers(-128, 127), min_size=4, max_size=4),
       radius=st.integers(0, 2))  # fmt: skip
def test_random_boxes(
    toy_nets: list[tuple[Net, Runtime]], which: int, pixels: list[int], radius: int
) -> None:
    net, runtime = toy_nets[which]
    q = torch.tensor(pixels, dtype=torch.float64).view(1, *toys.SHAPE)
    scores = runtime.run(q)[0].sort(descending=True).values
    if scores[0] == scores[1]:
        return  # a tie is nobody's label
    says, holds = judge(net, runtime, q, radius)
    assert (says, holds) not in {("certified", False), ("falsified", True)}


@pytest.mark.parametrize("order", ["influence", "all"])
def test_programs_never_exceed_the_true_minimum(
    toy_nets: list[tuple[Net, Runtime]], order: str
) -> None:
    from edgeguard.lab.verification.verify import neurons

    for net, runtime in toy_nets[1::3]:
        q = toys.near_border(runtime, torch.Generator().manual_seed(5))
        low, high = box(net, q, 1)
        scores = truth(runtime, low, high)
        y = runtime.run(q).argmax(1)
        for k in range(3):
            row = crown.rivals(net, y)[0, k]
            if k == y[0]:
                continue
            found = bounds(net, low, high)
            least = milp.minimum(net, found, row, neurons(net, found, row, order, 0))
            assert least.lower <= float((scores @ row).min()) + 1e-4


def test_scores_that_read_an_early_layer_leave_a_large_program_undecided(tmp_path: Path) -> None:
    net, runtime = toys.opened("around", 1, tmp_path)
    q = toys.near_border(runtime, torch.Generator().manual_seed(2))
    y, boxes = runtime.run(q).argmax(1), {9: box(net, q, 9)}
    effort = Effort(dense=0, milp_s=20.0, attack=Attack(0, 0, 1))
    says = {most: Verifier(net, runtime, replace(effort, most=most)).boxes(q, y, boxes)[0][9]
            for most in (3000, 12)}  # fmt: skip
    assert says[12].says == "unknown"
    assert says[3000].by == "program"


def test_the_attack_judges_where_its_last_step_led() -> None:
    weight, shift = torch.tensor([[1.0, -1.0] * 4]).double(), torch.zeros(1).double()
    maps, grid = (Dense(weight, torch.ones(1).double()),), Grid(1.0, 0, -128, 127)
    layer = Steps((0,), maps, shift, shift, (0,), shift, grid, -128, 127, "", raw=True)
    net = Net(grid, (8,), False, (layer,), 1, "x", "y")
    low, high = torch.full((1, 8), 3.0).double(), torch.full((1, 8), 5.0).double()
    tried = Attack(steps=1, restarts=1, corners=0).along(net, low, high, torch.ones(1).double())
    assert tried.tolist() == [[3.0, 5.0] * 4]


def test_a_bound_without_the_rounding_is_caught(toy_nets: list[tuple[Net, Runtime]]) -> None:
    """Control: bounds of the float twin, which forget that quantizers round, are wrong here."""
    wrong = 0
    for net, runtime in toy_nets:
        q = torch.randint(-128, 128, (50, *toys.SHAPE)).double()
        kept = [q]
        for layer in net.layers:
            read = [kept[i] for i in layer.inputs]
            kept.append(
                layer.before(read).clamp(layer.low, layer.high)
                if isinstance(layer, Steps)
                else layer.run(read)
            )
        wrong += int((kept[net.output].round() != runtime.run(q)).any(1).sum())
    assert wrong > 0
