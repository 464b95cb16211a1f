# SPDX-License-Identifier: Apache-2.0
"""Cells of the matrix in CarRacing, with the guard and without: the first seconds of each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgeguard import config
from edgeguard.cli.main import main
from edgeguard.config import GuardConfig
from edgeguard.errors import EdgeguardError
from edgeguard.streams.loops import matrix
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
    assert "aims" in blind.detectors, "where the command leads"
    assert blind.trip == kept.trip == 2, "after 40 ms, whichever finds it"


def test_who_is_led_astray_below_every_limit_is_stopped_by_where_the_command_leads(
    loaded: GuardConfig,
) -> None:
    """The networks agree, and none is as far from the rule as `apart` allows: by the time odometry
    shows it, the car is on the grass."""
    kept = driven(loaded, "astray 0.35", "on", 330)
    assert (kept.off, kept.safe) == (0, 3) and kept.deviation_m < 4.0
    assert "aims" in kept.detectors
    lost = driven(loaded, "astray 0.35", "without path", 330)
    assert lost.off > 0


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


def test_one_member_without_numbers_leaves_the_bare_networks_the_other_two(
    loaded: GuardConfig,
) -> None:
    from edgeguard.streams.loops.fault import Moment

    signals = dict.fromkeys(("lateral", "drift", "aim", "rule"), 0.0)
    signals |= {"speed": 20.0, "rule_speed": 20.0}
    frame = np.random.default_rng(0).integers(90, 210, (84, 96, 3), np.uint8)
    guard, steers = opened(loaded, "off", SEED)
    now = Moment(0, signals)
    two = steers.step(frame, now, CELLS["NaN one"](SEED), 1_000_000_000).command.steering
    said = {}
    for name in ("grey", "colour", "hard"):
        member, spec = guard.members[name], guard.members[name].card.scores
        said[name] = (float(member.scores[0]) - spec.zero_point) * spec.scale
    none = steers.step(frame[::-1].copy(), now, CELLS["NaN all"](SEED), 1_020_000_000)
    guard.close()
    assert two == pytest.approx((said["colour"] + said["hard"]) / 2) != 0.0
    assert none.command.steering == two, "nobody says a number: the last one is held"


@pytest.mark.parametrize("cell", ["late 3", "late 10"])
def test_a_camera_that_gets_late_sends_no_frame_twice(cell: str) -> None:
    from edgeguard.streams.loops.fault import Moment

    made, steps = FRAMES[cell](SEED).frame, int(cell.split()[1])
    assert made is not None
    arrived = []
    for since in range(-20, 40):
        taken = np.full((2, 2, 3), since + 20, np.uint8)
        seen = made(taken, Moment(since, {}))
        arrived.append(taken if since < 0 else seen)
    numbers = [int(f[0, 0, 0]) for f in arrived if f is not None]
    assert numbers == list(range(20 + 40 - steps))
    assert [f is None for f in arrived] == [20 <= i < 20 + steps for i in range(60)]


def test_a_drive_that_fails_is_named_and_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A policy beside which no patch lies, in a cell that needs one; drives of half a second."""
    monkeypatch.setattr(matrix, "MOST_STEPS", 80)
    for file in (models_dir("drive")).iterdir():
        if file.name != "patch.npz":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    results = tmp_path / "results"
    results.mkdir()
    (results / "drive-0-old.jsonl").write_text("{}\n{}\n")
    asked = ["drive", str(tmp_path / "guard.toml"), "--tracks", "1", "--results", str(results)]
    with pytest.raises(SystemExit) as done:
        main([*asked, "--cells", "patch,fog", "--json", str(tmp_path / "x.json")])
    assert done.value.code == 1
    said = capsys.readouterr().err
    assert "FAILED patch/off, track 121: " in said and "patch.npz: is not there" in said
    assert "FAILED drive.not_driven: 2" in said
    assert "drive-0-old.jsonl: 2 drives of other code, models or policy; they do not count" in said
    (kept,) = (f for f in results.iterdir() if f.name != "drive-0-old.jsonl")
    rows = [json.loads(line)["f"] for line in kept.read_text().splitlines()]
    assert rows == ["fog/off", "fog/on"]
    assert "drive.not_driven" in (tmp_path / "x.json").read_text()


class Ends:
    """A drive that its process dies of."""

    key, index = "flips all/on", 0

    @property
    def policy(self) -> Path:
        os._exit(9)


class Fails(Ends):
    """One that fails by itself."""

    key = "patch/on"

    @property
    def policy(self) -> Path:
        raise EdgeguardError("no patch")


def test_a_drive_that_its_process_dies_of_ends_no_other() -> None:
    from edgeguard.cli.drive import _driven

    some = [Fails(), Ends(), Fails(), Fails()]
    assert list(_driven(some, 2)) == [  # type: ignore[arg-type]
        "patch/on, track 121: no patch", "flips all/on, track 121: its process was ended",
        *["patch/on, track 121: no patch"] * 2,
    ]  # fmt: skip


def test_frames_before_the_onset_are_as_they_were() -> None:
    from edgeguard.streams.loops.fault import Moment

    frame = np.random.default_rng(0).integers(0, 256, (84, 96, 3), np.uint8)
    for name, make in FRAMES.items():
        transform = make(1).frame
        assert transform is not None
        given = frame.copy()
        transform(given, Moment(-1, {}))
        assert np.array_equal(given, frame), f"{name} wrote into the camera's own frame"
