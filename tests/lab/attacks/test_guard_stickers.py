# SPDX-License-Identifier: Apache-2.0
"""Stickers against the whole guard: what is counted is what the real guard does with the views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeguard.lab.attacks import signs as reserved
from edgeguard.lab.attacks.eot import HELD_OUT
from edgeguard.lab.attacks.guard_box import Verdict
from edgeguard.lab.attacks.guard_stickers import OWN, RAISES, _misled, _one, figures
from edgeguard.lab.attacks.guarded import GuardedTarget
from edgeguard.lab.attacks.resting import Resting
from edgeguard.lab.attacks.rp2 import RP2, SIDE, Sign, Sticker, ellipse, views_of
from edgeguard.streams.stream import load
from edgeguard.zoo import models_dir
from tests.lab.signs import signs

STOP, FASTEST = 14, 8


@pytest.fixture(scope="module")
def resting() -> Iterator[Resting]:
    x, y = signs(600)
    target = GuardedTarget(models_dir() / "guard.toml", x[:20])
    with Resting(target, (x, y)) as made:
        yield made


def stop() -> Sign:
    track = next(t for t in load(models_dir() / "stream.npz").tracks if t.label == STOP)
    frames = [np.asarray(frame) for frame in track.frames[-6:]]
    boxes = [(0.1 * w, 0.1 * h, 0.9 * w, 0.9 * h) for h, w in (f.shape[:2] for f in frames)]
    return Sign(STOP, frames, boxes)


def clear() -> Sticker:
    """Nothing is stuck."""
    return Sticker(torch.zeros(3, SIDE, SIDE), torch.zeros(1, SIDE, SIDE))


def test_the_real_guard_decides_what_stickers_reach(resting: Resting) -> None:
    """The row holds the worst sticker, and its share is what another look at the guard says."""
    whole = Sticker(torch.full((3, SIDE, SIDE), 0.5), ellipse())  # a grey disc
    row = _one(resting, stop(), {"plain": clear(), "robust": whole}, RP2(RAISES, steps=45))
    assert row is not None
    assert row["way"][0] in (OWN, "plain", "robust")
    made = Sticker(*(torch.from_numpy(row[name][0]) for name in ("texture", "mask")))
    marked = reserved.marked(stop(), made)
    box = resting.at(0.0)
    assert box is not None

    def asked(sign: Sign) -> list[Verdict]:
        views = views_of(sign.frames[:: reserved.EVERY], HELD_OUT, reserved.DRAWS, 1)
        return [box.ask(v.transpose(2, 0, 1)[None])[0] for v in views]

    accepted = np.array([v.accepted and not v.raised for v in asked(stop())])
    raised = np.array([v.raised for v in asked(marked)])
    assert row["views"][0] == accepted.mean() > 0.5
    assert row["raised"][0] == raised[accepted].mean()
    assert row["hit"][0] == raised[accepted].any()
    assert (row["fell"][0] >= row["raised"][0]).all()  # a quorum of three raises


def test_the_margin_is_what_the_sticker_climbs(resting: Resting) -> None:
    """More steps bring the members to say what commands more; nothing stuck does not."""
    short, long = (_one(resting, stop(), {}, RP2(RAISES, steps=n)) for n in (3, 90))
    assert short is not None
    assert long is not None
    assert long["fell"].mean() > short["fell"].mean() + 0.2
    assert long["fell"].mean() > 0.3


def test_nothing_stands_above_the_fastest_sign(resting: Resting) -> None:
    assert _one(resting, replace(stop(), label=FASTEST), {}) is None


def test_a_sign_that_is_never_accepted_counts_for_nothing(resting: Resting) -> None:
    """Left out and counted, like one that a member never reads."""
    row = _one(resting, stop(), {}, RP2(RAISES, steps=3))
    assert row is not None
    one = replace(_misled(row), accepted=1.0, raised=0.5)
    found = {f.id: f for f in figures([one, replace(one, accepted=0.0, raised=0.0)], ["a"])}
    hazard = found["guard.rp2.cover20.hazard"]
    assert (hazard.value, hazard.n, hazard.holds) == (0.5, 1, False)
    assert found["guard.rp2.cover20.left_out"].value == 1
    assert found["guard.rp2.cover20.accepted"].value == 0.5
    assert figures([replace(one, accepted=0.0)], ["a"]) == []
