# SPDX-License-Identifier: Apache-2.0
"""The parts for a donkeycar without donkeycar, whose loop is tried in test_donkeycar.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.adapters import donkeycar
from edgeguard.adapters.card import number
from edgeguard.adapters.donkeycar import GuardPart, Stamped
from edgeguard.errors import ConfigError
from tests.adapters.pages import BLOCK, ROOT

PAGE = (ROOT / "docs" / "integrations" / "donkeycar.md").read_text(encoding="utf-8")
PERIOD_S = 0.05


def write_policy(folder: Path, old: str = "", new: str = "") -> Path:
    """The page's, changed."""
    policy = "#" + PAGE.split("# guard.toml", 1)[1].split("```")[0]
    assert old in policy
    number("angle", -1, 1).save(folder / "angle.card.json")
    number("throttle", -1, 1).save(folder / "throttle.card.json")
    (folder / "guard.toml").write_text(policy.replace(old, new), encoding="utf-8")
    return folder / "guard.toml"


class Car:
    """A loop: the pilot wants 0.3 and 0.4, a person holds the wheel at -0.5 and the throttle at
    -0.1; DriveMode takes from each what its mode says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns, self.rng = 1_000_000_000, np.random.default_rng(0)
        monkeypatch.setattr(donkeycar.time, "monotonic_ns", lambda: self.now_ns)
        self.part = GuardPart(write_policy(folder))
        self.steering: float | None = None
        self.throttle: float | None = None

    def loop(self, mode: str) -> tuple[float, float]:
        self.now_ns += round(PERIOD_S * 1e9)
        image = self.rng.integers(60, 180, (120, 160, 3), np.uint8)
        angle, throttle, _ = self.part.run(
            image, 0.3, 0.4, self.now_ns, mode, self.steering, self.throttle
        )
        self.steering = -0.5 if mode == "user" else angle
        self.throttle = throttle if mode == "local" else -0.1
        return self.steering, self.throttle


def test_a_person_who_gives_up_the_wheel_first_and_then_the_throttle_feels_no_jump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    car = Car(tmp_path, monkeypatch)
    modes = ["user"] * 10 + ["local_angle"] * 20 + ["local"] * 30
    drove = np.array([car.loop(mode) for mode in modes])
    steps = np.abs(np.diff(drove, axis=0)).max(axis=0)
    assert steps[0] <= 8.0 * PERIOD_S + 1e-3
    assert steps[1] <= 0.5 * PERIOD_S + 1e-3, "as fast as the throttle may rise"
    assert drove[-1] == pytest.approx((0.3, 0.4), abs=1e-3)
    car.part.shutdown()


def test_a_pilot_with_three_answers_fails_with_as_many() -> None:
    class Lost:
        def run(self, image: Any) -> Any:
            raise RuntimeError("CUDA out of memory")

    said = Stamped(Lost(), answers=3).run(None)
    assert said[:3] == (None, None, None) and len(said) == 4


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ({"members": ("angle", "gas")}, r"member\.gas: is not there; donkeycar needs it"),
        ({"camera": "rear"}, r"camera\.rear: is not there; donkeycar needs it"),
    ],
)
def test_names_that_the_policy_does_not_know_are_refused_before_the_loop(
    tmp_path: Path, how: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        GuardPart(write_policy(tmp_path), **how)


def test_motor_off_of_the_page_stops_every_motor_or_says_that_there_is_none() -> None:
    block = next(body for _, body in BLOCK.findall(PAGE) if "def motor_off" in body)

    class Motor:
        turns = 0.3

        def run(self, throttle: float) -> None:
            self.turns = throttle

    def drivetrain(*inputs: list[str], outputs: tuple[str, ...] = ()) -> tuple[list[Motor], Any]:
        motors = [Motor() for _ in inputs]
        parts = [
            {"inputs": given, "outputs": list(outputs), "part": motor}
            for given, motor in zip(inputs, motors, strict=True)
        ]
        space: dict[str, Any] = {"V": type("V", (), {"parts": parts})}
        exec(block.split("guard = ")[0], space)  # the page's own words
        return motors, space["motor_off"]

    for given in ((["throttle"],), (["left/throttle"], ["right/throttle"])):
        motors, motor_off = drivetrain(*given)
        motor_off()
        assert [m.turns for m in motors] == [0.0] * len(given)
    for given, outputs in ((["steering", "throttle"], ()), (["throttle"], ("enc/speed",))):
        _, motor_off = drivetrain(given, outputs=outputs)
        with pytest.raises(RuntimeError, match="no part takes the throttle alone"):
            motor_off()
