# SPDX-License-Identifier: Apache-2.0
"""Stickers against the whole guard: what is counted is what the real guard does with the views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edgeguard.cli.lab_attack import attack
from edgeguard.lab.attacks import signs as reserved
from edgeguard.lab.attacks.eot import HELD_OUT
from edgeguard.lab.attacks.guard_box import Verdict
from edgeguard.lab.attacks.guard_stickers import ANY, ONE, RAISES, Misled, figures, one
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
    row = one(resting, stop(), {"plain": clear(), "robust": whole}, RP2(RAISES, steps=45))
    assert row is not None
    assert row["made_on"][0].tolist() == [ANY, ONE, "plain", "robust"]
    assert row["ways"][0].max() == row["raised"][0] >= row["ways"][0][0] - 1e-9
    assert row["ways"][0][2] == 0  # nothing is stuck
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
    short, long = (one(resting, stop(), {}, RP2(RAISES, steps=n)) for n in (3, 90))
    assert short is not None
    assert long is not None
    assert long["fell"].mean() > short["fell"].mean() + 0.2
    assert long["fell"].mean() > 0.3


def test_nothing_stands_above_the_fastest_sign(resting: Resting) -> None:
    assert one(resting, replace(stop(), label=FASTEST), {}) is None


MADE = Misled(1, 1.0, 0.5, 0.1, {ANY: 0.4, ONE: 0.5, "a": 0.2}, "", (0.9,), 0.19)


def test_a_sign_that_is_never_accepted_counts_for_nothing() -> None:
    """Left out and counted, as one on whose command the guard does not rest."""
    made, broken = figures([MADE, replace(MADE, accepted=0.0, raised=0.0), Misled(2)], ["a"])
    found = {f.id.removeprefix("guard.rp2.cover20."): f for f in made}
    hazard = found["hazard"]
    assert (hazard.value, hazard.n, hazard.holds) == (0.5, 1, False)
    assert found["made_on.guard"].value == 0.4
    assert found["made_on.guard.one_label"].value == 0.5
    assert (found["left_out"].value, found["left_out"].n) == (2, 3)
    assert found["accepted"].value == pytest.approx(1 / 3)
    assert found["most_cover"].holds
    assert broken == []


def test_a_rate_of_nothing_is_no_rate() -> None:
    """E8: no bar holds where nothing was judged."""
    for none in ([], [Misled(1)], [replace(MADE, accepted=0.0)]):
        (hazard, *_), broken = figures(none, ["a"])
        assert (hazard.n, hazard.holds) == (0, False)
        assert len(broken) == 1
        assert broken[0].startswith("E8: ")


def test_stickers_of_who_knows_less_are_no_better() -> None:
    """E4: by more than one sign's worth."""
    many = [replace(MADE, ways={ANY: 0.1, ONE: 0.1, "a": 0.1 + more}, control=control)
            for more, control in ((0.3, 0.1), (0.1, 0.9)) for _ in range(10)]  # fmt: skip
    _, broken = figures(many, ["a"])
    assert [rule.split(" (")[0] for rule in broken] == [
        "E4: stickers of random colours", "E4: stickers of a"]  # fmt: skip
    assert figures(many[:1], ["a"])[1] == []


def test_stickers_without_their_tracks_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "gtsrb").mkdir()
    asked = ["--data-dir", str(tmp_path), "--results", str(tmp_path / "r"), "--attack", "rp2"]
    made = CliRunner().invoke(attack, asked, standalone_mode=False)
    assert "tracks.csv: is not there, and stickers are on its tracks" in str(made.exception)
