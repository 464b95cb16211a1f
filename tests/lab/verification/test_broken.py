# SPDX-License-Identifier: Apache-2.0
"""A certificate that falls is counted, and what it had proved of smaller boxes is judged anew.

The certificates here are lies: those of the package are never seen to fall.
"""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")

import torch

from edgeguard.lab.verification.attack import Attack
from edgeguard.lab.verification.interval import box
from edgeguard.lab.verification.net import Net
from edgeguard.lab.verification.runtime import Runtime
from edgeguard.lab.verification.verify import Effort, Verdict, Verifier
from tests.lab.verification import toys

RADII = (0, 1, 3, 20)
LIE = Verdict("certified", "region", 0.0)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Net, Runtime]:
    return toys.opened("dense", 1, tmp_path_factory.mktemp("toy"))


@pytest.fixture
def liar(toy: tuple[Net, Runtime], monkeypatch: pytest.MonkeyPatch) -> Verifier:
    """A verifier whose bounds certify everything, and which attacks well."""
    monkeypatch.setattr(Verifier, "_certificates", lambda self, found, y: torch.ones(len(y)))
    return Verifier(*toy, Effort(dense=0, attack=Attack(steps=3, restarts=2, corners=4)))


def border(toy: tuple[Net, Runtime]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """A picture, its class, and the smallest of ``RADII`` that has a counterexample."""
    net, runtime = toy
    q = toys.near_border(runtime, torch.Generator().manual_seed(0))
    y = runtime.run(q).argmax(1)
    within = toys.every(*box(net, q, 1))
    assert bool((runtime.run(within).argmax(1) != y).any())
    return q, y, 1


def boxes(net: Net, q: torch.Tensor) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    return {r: box(net, q, r) for r in RADII}


def test_what_a_fallen_certificate_had_proved_is_attacked(
    toy: tuple[Net, Runtime], liar: Verifier
) -> None:
    q, y, least = border(toy)
    (found,) = liar.boxes(q, y, boxes(toy[0], q))
    assert {r: v.says for r, v in found.items()} == {
        r: "falsified" if r >= least else "certified" for r in RADII
    }
    assert found[0].by == "tighter bounds"  # proved anew
    assert liar.broken == 1
    for r in RADII[1:]:
        low, high = box(toy[0], q, r)
        example = found[r].input
        assert example is not None and bool(((low[0] <= example) & (example <= high[0])).all())


class OnlySmall(Attack):
    """Tries every input of a box of radius 1, and the middle of any other."""

    def __call__(self, net, low, high, y):  # type: ignore[no-untyped-def]
        return [
            toys.every(a[None], b[None])
            if float((b - a).max()) <= 2
            else ((a + b) / 2).round()[None]
            for a, b in zip(low, high, strict=True)
        ]


def test_a_counterexample_breaks_the_certificates_of_larger_boxes(toy: tuple[Net, Runtime]) -> None:
    q, y, _ = border(toy)
    verifier = Verifier(*toy, Effort(attack=OnlySmall()))
    (found,) = verifier.boxes(q, y, boxes(toy[0], q), [{3: LIE, 20: LIE}])
    assert [found[r].says for r in RADII] == ["certified", "falsified", "falsified", "falsified"]
    assert verifier.broken == 2


def test_a_region_that_holds_a_misread_picture_is_broken(toy: tuple[Net, Runtime]) -> None:
    q, y, _ = border(toy)
    verifier = Verifier(*toy, Effort(attack=Attack(0, 0, 1)))
    (found,) = verifier.boxes(q, (y + 1) % 3, boxes(toy[0], q), [{1: LIE, 3: LIE}])
    assert {v.says for v in found.values()} == {"wrong"}
    assert verifier.broken == 2
