# SPDX-License-Identifier: Apache-2.0
"""Cells of the matrix in CarRacing, with the guard and without: the first seconds of each."""

from __future__ import annotations

import numpy as np
import pytest

from edgeguard import config
from edgeguard.config import GuardConfig
from edgeguard.streams.loops.drive import ONSET, Outcome, Watch, drive
from edgeguard.streams.loops.faults import FRAMES
from edgeguard.streams.loops.matrix import CELLS, SLOW, ablated
from edgeguard.streams.loops.pursuit import CAREFUL
from edgeguard.streams.loops.steers import opened
from edgeguard.streams.loops.tracks import CALIBRATION
from edgeguard.zoo import models_dir

pytest.importorskip("gymnasium", reason="the extra drive")
pytest.importorskip("Box2D", reason="the extra drive")
SEED = CALIBRATION[0]


@pytest.fixture(scope="module")
def loaded() -> GuardConfig:
    return config.load(models_dir("drive") / "guard.toml")


def driven(
    loaded: GuardConfig, cell: str, mode: str, steps: int = 520, watch: Watch | None = None
) -> Outcome:
    from edgeguard.streams.loops.racing import Racing

    guard, steers = opened(ablated(loaded, mode), mode, SEED)
    vehicle = Racing(SEED, most_steps=steps)
    style = CAREFUL if mode in SLOW else None
    found = drive(vehicle, steers, SEED, CELLS[cell](SEED), most_off=20, watch=watch, style=style)
    vehicle.close()
    guard.close()
    return found


def test_the_picture_is_the_one_that_the_game_draws() -> None:
    import gymnasium

    from edgeguard.streams.loops.drawing import Drawing

    env = gymnasium.make("CarRacing-v3")
    env.reset(seed=SEED)
    drawing = Drawing(env.unwrapped)
    for step in range(80):  # the camera comes down in the first 50
        action = np.array([0.3 if step > 40 else 0.0, 0.8, 0.0], np.float32)
        own, *_ = env.step(action)
        assert np.array_equal(own[:84], drawing("")[:84])
    env.close()


def test_a_frozen_camera_throws_the_bare_networks_off_and_the_rule_takes_over(
    loaded: GuardConfig,
) -> None:
    assert driven(loaded, "freeze", "off").off > 0
    kept = driven(loaded, "freeze", "on")
    assert kept.off == 0
    assert kept.safe is not None and kept.safe <= 3
    assert "FROZEN_INPUT" in kept.causes


def test_a_bias_that_all_members_share_is_seen_by_the_rule_and_not_by_the_vote(
    loaded: GuardConfig,
) -> None:
    kept = driven(loaded, "bias 1", "on", 330)
    assert kept.off == 0
    assert "DISAGREEMENT" not in kept.causes
    assert kept.detectors >= {"apart_grey", "apart_colour", "apart_hard"}
    blind = driven(loaded, "bias 1", "without members against rule", 330)
    assert "left" in blind.detectors
    assert blind.trip is not None and kept.trip is not None and blind.trip > kept.trip


def test_one_member_without_numbers_changes_nothing_and_all_of_them_are_the_rules_business(
    loaded: GuardConfig,
) -> None:
    one, all_of_them = driven(loaded, "NaN one", "on", 260), driven(loaded, "NaN all", "on", 260)
    assert one.trip is None and one.off == 0
    assert "SCORE_INSANE" in one.causes
    assert all_of_them.safe is not None and all_of_them.safe <= 3


def test_the_microcontroller_stops_the_car_on_the_road_and_a_person_lets_it_go_on(
    loaded: GuardConfig,
) -> None:
    told: list[tuple[bool, float]] = []
    cut = driven(
        loaded, "link cut", "mcu", 560,
        lambda moment, said, vehicle: told.append((said.stops, vehicle.true_pose().speed)),
    )  # fmt: skip
    assert cut.safe is not None and cut.safe <= 3
    assert "LINK_LOST" in cut.causes
    assert (cut.off, cut.stops) == (0, 1)
    assert not any(stops for stops, _ in told[:ONSET])
    assert all(stops for stops, _ in told[ONSET + 3 : ONSET + 250]), "until the cable is mended"
    assert told[ONSET + 249][1] < 0.1
    assert told[-1][0] is False and told[-1][1] > 5.0


def test_frames_before_the_onset_are_as_they_were() -> None:
    from edgeguard.streams.loops.fault import Moment

    frame = np.random.default_rng(0).integers(0, 256, (84, 96, 3), np.uint8)
    for name, make in FRAMES.items():
        transform = make(1).frame
        assert transform is not None
        given = frame.copy()
        transform(given, Moment(-1, {}))
        assert np.array_equal(given, frame), f"{name} wrote into the camera's own frame"
