# SPDX-License-Identifier: Apache-2.0
"""The real guard comes to rest whatever guard.toml asks of signals and of the history."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeguard.config import load
from edgeguard.errors import EdgeguardError
from edgeguard.evidence.history import History
from edgeguard.lab.attacks import steady
from edgeguard.lab.attacks.guard_box import GuardBox
from edgeguard.lab.attacks.guarded import GuardedTarget
from edgeguard.lab.attacks.resting import FEWEST, Resting
from edgeguard.lab.defences.export import HISTORY, signal_rows
from edgeguard.zoo import models_dir
from tests.lab.signs import signs

THIRTY, EIGHTY = 1, 5
COMMAND = 8.33


def of(label: int) -> np.ndarray:
    x, y = signs(600)
    return x[y == label]


def guard(folder: Path, rows: str) -> Path:
    """The shipped guard with more rows in its guard.toml."""
    shutil.copytree(models_dir(), folder / "models")
    policy = folder / "models" / "guard.toml"
    policy.write_text(policy.read_text() + rows)
    return policy


WHEELS = """
[signal.left]
unit = "1"
range = [0.0, 500.0]
authenticated = true

[signal.heat]
unit = "degC"
range = [20.0, 90.0]

[detector.wheel]
kind = "association"
between = ["signal.left", "signal.speed"]
relation = "ratio"
least = 0.5
above = 12.1
below = 12.0

[detector.led]
kind = "association"
between = ["channel.target_speed", "signal.speed"]
relation = "difference"
above = 1.0
below = -1.0
"""


@pytest.mark.parametrize("rows", [
    signal_rows("plain_squeezing", 1.3),
    signal_rows("at_least", -2.0).replace("above", "below"),
    WHEELS.replace("degC", "1"),
], ids=["squeezing", "below", "wheels"])  # fmt: skip
def test_a_guard_with_signals_rests(rows: str, tmp_path: Path) -> None:
    """Each has a value that its association holds at; what has to be proved is given as proved."""
    with GuardBox(guard(tmp_path, rows), of(THIRTY)[-8:], COMMAND) as box:
        raised = box.ask(np.concatenate([of(EIGHTY)[-1:], of(THIRTY)[:1]]))
    assert [v.raised for v in raised] == [True, False]


def test_how_long_a_model_takes_here_is_no_part_of_a_verdict(tmp_path: Path) -> None:
    """A deadline that no model meets would count every attacked picture as late, and the models of
    the clean prefix, which are not run again, as in time."""
    policy = guard(tmp_path, "")
    assert policy.read_text().count("deadline_ms = 200") == 3
    policy.write_text(policy.read_text().replace("deadline_ms = 200", "deadline_ms = 0.01"))
    with GuardBox(policy, of(THIRTY)[-8:], COMMAND) as box:
        said = box.ask(np.concatenate([of(EIGHTY)[-1:], of(THIRTY)[:1]]))
    assert [v.raised for v in said] == [True, False]


def test_a_risk_level_that_forgets_too_slowly_is_begun_anew() -> None:
    """What was shown before is no part of a verdict, though a guard remembers it for minutes."""
    watched = models_dir() / "ood.toml"
    with GuardBox(watched, of(THIRTY)[-8:], COMMAND) as box:
        before = box._guard
        before.event("sandbox_violation")
        said = box.ask(np.concatenate([of(EIGHTY)[-1:], of(THIRTY)[:1]]))
        assert box._guard is not before
    assert [v.raised for v in said] == [True, False]


def test_signals_lie_in_their_ranges_and_break_nothing(tmp_path: Path) -> None:
    config = load(guard(tmp_path, WHEELS.replace("degC", "1")))
    held = steady.signals(config, "target_speed", COMMAND)
    assert held["speed"] == COMMAND
    assert held["heat"] == 20.0
    assert 12.0 <= held["left"] / COMMAND <= 12.1
    assert steady.broken(config, held, {"target_speed": COMMAND}) == []
    worse = {**held, "left": 0.0}
    assert steady.broken(config, worse, {"target_speed": COMMAND}) == ["wheel"]


def test_a_guard_that_cannot_rest_is_named_with_what_trips(tmp_path: Path) -> None:
    policy = guard(
        tmp_path,
        signal_rows("never", 5.0)
        + "below = 4.9\n"
        + signal_rows("also", 1.0).replace(
            '"signal.also", "signal.also"', '"signal.never", "signal.never"'
        ),
    )
    with pytest.raises(EdgeguardError, match=r"ASSOCIATION_BROKEN.*detector\.never trips at these"):
        GuardBox(policy, of(THIRTY)[-8:], COMMAND)


def test_a_guard_with_a_history_meets_each_picture_after_a_clean_prefix(tmp_path: Path) -> None:
    """As `lab defend history` writes its row: 32 questions about one sign leave nothing behind."""
    policy = guard(tmp_path, "".join(
        HISTORY.format(member="plain", feature=feature, limit=limit)
        for feature, limit in (("echoes", 28), ("flips", 3), ("changes", 2))))  # fmt: skip
    again = np.repeat(of(EIGHTY)[-1:], 32, 0)
    with GuardBox(policy, of(THIRTY)[-8:], COMMAND) as box:
        assert all(v.raised for v in box.ask(again))


def test_the_prefix_is_varied() -> None:
    x, y = signs(600)
    target = GuardedTarget(models_dir() / "guard.toml", x[::100])
    with Resting(target, (np.concatenate([x, x]), np.concatenate([y, y]))) as resting:
        prefix = resting._prefix(COMMAND)
    assert prefix is not None
    assert len(prefix) >= FEWEST
    history = History()
    echoes = [history.see(p.transpose(1, 2, 0).copy(), 0).echoes for p in prefix]
    assert np.mean(echoes) < 0.7
