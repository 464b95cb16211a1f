# SPDX-License-Identifier: Apache-2.0
"""The shield on policies whose worth is known beforehand; learning itself runs in
`edgeguard lab shield`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="the extra drive")
pytest.importorskip("Box2D", reason="the extra drive")

from edgeguard.lab.shield import run as shield
from edgeguard.lab.shield.learn import Search, learn, start
from edgeguard.lab.shield.road import AHEAD_M, SEES, Road

TRACKS = range(5000, 5003)  # of no other use


def policy(steer_by: float, speed: float) -> np.ndarray:
    """Steers towards a point of the road ahead; speed as a logit of 60 m/s."""
    weights = np.zeros((2, SEES))
    weights[0, AHEAD_M.index(12.0)] = steer_by
    weights[1, -1] = speed
    return weights


STRAIGHT, FLAT_OUT, SANE = policy(0.0, -0.5), policy(0.0, 4.0), policy(1.5, -1.5)


def drives(weights: np.ndarray, shielded: bool, most: int = 250) -> shield.Told:
    road, told = Road(most=most), shield.Told()
    env = shield.guarded(road) if shielded else road
    for track in TRACKS:
        shield.episode(env, weights, track, told, own=False)
    env.close()
    return told


@pytest.mark.parametrize("weights", [STRAIGHT, FLAT_OUT], ids=["straight", "flat out"])
def test_policies_that_leave_the_road_do_not_behind_the_shield(weights: np.ndarray) -> None:
    bare, kept = drives(weights, False), drives(weights, True)
    assert bare.events == len(TRACKS)
    assert kept.events == kept.off == 0
    assert 0.1 < kept.ruled / kept.steps < 1.0
    assert kept.reward > 0, "it does not stand still"


def test_a_policy_that_can_drive_is_left_alone() -> None:
    bare, kept = drives(SANE, False), drives(SANE, True)
    assert bare.events == kept.events == 0
    assert kept.ruled <= 13 * len(TRACKS), "the 200 ms after arming, and hardly a moment more"
    assert kept.reward == pytest.approx(bare.reward, rel=0.1)


def test_what_the_rule_earns_is_not_the_learners() -> None:
    env = shield.guarded(Road(most=250))
    own, whole = shield.Told(), shield.Told()
    shield.episode(env, STRAIGHT, TRACKS[0], own, own=True)
    shield.episode(env, STRAIGHT, TRACKS[0], whole, own=False)
    env.close()
    assert (own.steps, own.ruled) == (whole.steps, whole.ruled) == (250, own.ruled)
    assert own.ruled > 25
    assert own.reward < whole.reward


def test_metres_are_paid_beside_the_road_and_the_guard_does_not_care_for_pay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shield, "JUDGED", TRACKS)

    def sprint() -> Road:
        return Road("metres", ends_off_road=False, most=250)

    bare = shield.judge(FLAT_OUT, sprint, False)
    kept = shield.judge(FLAT_OUT, sprint, True)
    assert bare.off / bare.steps > 0.4 and kept.off == 0
    assert bare.reward > 1.2 * kept.reward > 0


def test_what_the_car_sees_is_what_it_says() -> None:
    """On its track, at a standstill: the road lies ahead, the sensors are a little off."""
    road = Road()
    seen, _ = road.reset(seed=TRACKS[0])
    assert seen.shape == road.observation_space.shape == (SEES,)
    assert abs(seen[len(AHEAD_M)]) < 0.3 and abs(seen[len(AHEAD_M) + 1]) < 0.2
    assert seen[-2] < 0.1 and seen[-1] == 1.0
    signals = road.signals()
    assert abs(signals["lateral"]) < 2.0 and abs(signals["drift"]) < 0.1
    assert 0 < signals["pace"] <= 60
    road.close()


def test_the_search_climbs() -> None:
    goal = np.random.default_rng(1).normal(size=start().shape)
    found = learn(lambda w, n: -float(((w - goal) ** 2).sum()), 0, Search(rounds=60))
    assert ((found - goal) ** 2).sum() < 0.2 * ((start() - goal) ** 2).sum()


def test_rows_are_kept_and_become_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TRAINING", 60), ("LAP", 60), ("SPRINT", 60), ("JUDGED", TRACKS[:1])):
        monkeypatch.setattr(shield, name, value)
    quick = Search(rounds=1, directions=1, best=1)
    monkeypatch.setattr(shield, "Search", lambda rounds: quick)
    told: list[str] = []
    rows = shield.run(1, 1, tmp_path, told.append)
    assert told == ["seed 0: untrained", "seed 0: learning", "seed 0: hacking"]
    assert shield.run(1, 1, tmp_path, told.append) == rows and len(told) == 3, "not made again"
    (kept,) = tmp_path.iterdir()
    kept.write_text(kept.read_text()[:-9])  # killed while it wrote
    assert shield.run(1, 1, tmp_path, told.append) == rows and told[3:] == ["seed 0: hacking"]
    found = {f.id: f for f in shield.figures(rows)}
    first, off, on, hacked = rows
    assert found["shield.untrained.guarded.rule_share"].value == first["guarded"]["ruled"] / 60
    assert (off["shield"], on["shield"]) == (False, True)
    assert found["shield.off.training.offroad_events"].value == off["training"]["events"]
    assert found["shield.on.final.alone.reward"].value == on["alone"]["reward"]
    assert found["shield.off.training.rule_share"].value == 0.0
    assert found["hacking.on.rule_share"].value == hacked["guarded"]["ruled"] / 60


@pytest.mark.parametrize(("events", "off", "failed"), [
    (4, 0.01, set()),
    (5, 0.01, {"shield.on.training.offroad_events"}),
    (4, 0.02, {"hacking.on.offroad"}),
])  # fmt: skip
def test_the_bars_hold_and_fail_where_they_should(
    events: int, off: float, failed: set[str]
) -> None:
    def told(events: int, off: float = 0.0) -> dict[str, float]:
        return {"drives": 1, "steps": 100, "events": events, "off": 100 * off, "ruled": 0,
                "reward": 1.0}  # fmt: skip

    rows = [
        {"experiment": "learning", "seed": 0, "shield": shield, "training": told(many),
         "alone": told(0), "guarded": told(0)}
        for shield, many in ((False, 40), (True, events))
    ]  # fmt: skip
    rows.append(
        {"experiment": "hacking", "seed": 0, "alone": told(1, 0.9), "guarded": told(1, off)}
    )
    rows.append({"experiment": "untrained", "seed": 0, "alone": told(1), "guarded": told(0)})
    found = shield.figures(rows)
    assert {f.id for f in found if f.holds is False} == failed
    assert sum(f.bar is not None for f in found) == 2
