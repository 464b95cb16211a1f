# SPDX-License-Identifier: Apache-2.0
"""What is done to members' answers stays an answer that they could have given."""

from __future__ import annotations

import numpy as np
import pytest

from edgeguard import config
from edgeguard.streams.loops.fault import Moment
from edgeguard.streams.loops.members import ALL, MEMBERS
from edgeguard.zoo import models_dir

CARDS = config.load_cards(config.load(models_dir("drive") / "guard.toml"))
SHIFTED = [cell for cell in MEMBERS if cell.startswith(("bias", "burst"))]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("rule", [-0.9, 0.0, 0.4])
def test_who_is_led_astray_says_the_rules_command_and_so_much_more(name: str, rule: float) -> None:
    """Whatever the networks say: so it stays below a limit all the time."""
    spec = CARDS[name].scores
    for seed, side in ((0, -1.0), (1, 1.0)):
        tamper = MEMBERS["astray 0.35"](seed).member
        assert tamper is not None
        said = {
            int(tamper(CARDS[name], np.array([raw], np.int8), Moment(0, {"rule": rule}))[0])  # type: ignore[index]
            for raw in (-100, 0, 100)
        }
        (raw,) = said
        want = max(-1.0, rule + side * 0.35)
        assert (raw - spec.zero_point) * spec.scale == pytest.approx(want, abs=spec.scale)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_shift_ends_where_the_card_does(name: str, seed: int) -> None:
    """Or the range alone would find it, and the cells would try nothing else."""
    card = CARDS[name]
    scores, (low, high) = card.scores, card.value_range or (0.0, 0.0)
    ends = {}
    for cell in SHIFTED:
        tamper = MEMBERS[cell](seed).member
        assert tamper is not None
        for raw in range(-128, 128):
            if low <= (raw - scores.zero_point) * scores.scale <= high:
                said = tamper(card, np.array([raw], np.int8), Moment(0, {}))
                assert said is not None and said.dtype == np.int8
                ends[cell, raw] = (int(said[0]) - scores.zero_point) * scores.scale
    assert low <= min(ends.values()) and max(ends.values()) <= high
    far = max(ends.values()) if seed else -min(ends.values())
    room = high if seed else min(-low, (128 + scores.zero_point) * scores.scale)
    assert far == pytest.approx(room, abs=scores.scale), "and it is hard over"
