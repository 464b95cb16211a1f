# SPDX-License-Identifier: Apache-2.0
"""The guard in donkeycar's own Vehicle loop, with its AiLaunch, DriveMode and tub, and its traps.

donkeycar wants numpy below 2, so it has an environment of its own: `make test-donkeycar`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("donkeycar", reason="has an environment of its own: make test-donkeycar")

from donkeycar.parts.camera import BaseCamera
from donkeycar.parts.launch import AiLaunch
from donkeycar.parts.tub_v2 import Tub, TubWriter
from donkeycar.templates import complete
from donkeycar.templates.complete import DriveMode
from donkeycar.vehicle import Vehicle

from edgeguard.adapters import donkeycar
from edgeguard.adapters.card import number
from edgeguard.adapters.donkeycar import GuardPart, Stamped
from edgeguard.errors import ConfigError
from tests.adapters.pages import ROOT, follow

HZ, LOOPS, ONSET = 20, 36, 20
FAST_HZ = 10_000
MODES = ("NOMINAL", "DEGRADED", "FALLBACK", "SAFE_STOP")
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array")  # donkeycar's tub
PILOT = ["pilot/angle", "pilot/throttle"]
TUB = {"cam/image_array": "image_array", "steering": "float", "throttle": "float",
       "user/mode": "str", "guard/mode": "str"}  # fmt: skip


class Camera(BaseCamera):  # type: ignore[misc]
    """A thread takes a picture for each loop, until it dies; BaseCamera serves the last one."""

    def __init__(self, lives: int = 10**9) -> None:
        self._rng, self._lives = np.random.default_rng(0), lives
        self._wanted, self._there = threading.Semaphore(0), threading.Semaphore(0)
        self.frame = self.picture()
        self.on = True

    def picture(self) -> Any:
        return self._rng.integers(60, 180, (120, 160, 3), np.uint8)

    def next(self) -> None:
        """Let the thread take one, if it lives."""
        self._lives -= 1
        self._wanted.release()
        if self._lives > 0:
            self._there.acquire()

    def update(self) -> None:
        while self._wanted.acquire() and self.on:
            if self._lives <= 0:
                return  # as a ribbon cable that came loose: nobody is told
            self.frame = self.picture()
            self._there.release()

    def shutdown(self) -> None:
        self.on = False
        self._wanted.release()


class Clock:
    """The first part of each loop: 50 ms pass, and the camera may look."""

    now_ns = 1_000_000_000

    def __init__(self, camera: Camera) -> None:
        self._camera = camera

    def run(self) -> None:
        Clock.now_ns += 50_000_000
        self._camera.next()


@pytest.fixture(autouse=True)
def simulated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop runs as fast as it can: what is asserted does not hang on how busy a machine is."""
    monkeypatch.setattr(donkeycar.time, "monotonic_ns", lambda: Clock.now_ns)


class Pilot:
    """Says the same in every loop, as a Keras pilot does: arrays of one."""

    def __init__(self, fails: Callable[[int], bool] = lambda n: False) -> None:
        self.runs, self._fails = 0, fails

    def run(self, image: Any) -> Any:
        self.runs += 1
        if self._fails(self.runs):
            raise RuntimeError("CUDA out of memory")
        return np.array([[0.3]], np.float32), np.array([0.4], np.float32)


class Wheels:
    """The actuators: they hold the last value, and their shutdown does nothing."""

    def __init__(self) -> None:
        self.steering: list[float] = []
        self.throttle: list[float] = []
        self.modes: list[str] = []

    def run(self, steering: float, throttle: float, mode: str) -> None:
        self.steering.append(steering)
        self.throttle.append(throttle)
        self.modes.append(mode)


class Motor:
    """Turns as it was told last. Fails at a given run: the loop then ends."""

    def __init__(self, fails: int) -> None:
        self.turns, self._left = 0.0, fails

    def run(self, throttle: float) -> None:
        self.turns, self._left = throttle, self._left - 1
        if self._left == 0:
            raise OSError("I2C: no acknowledge")


class Script:
    """Sets keys of the memory at given loops, as a controller or another part would."""

    def __init__(self, keys: list[str], at: dict[int, tuple[Any, ...]]) -> None:
        self.keys, self._at, self._n = keys, at, 0
        self._now = at[0]

    def run(self) -> tuple[Any, ...]:
        self._now = self._at.get(self._n, self._now)
        self._n += 1
        return self._now


class Drive:
    """The order of parts of donkeycar's `complete` template."""

    def __init__(
        self, folder: Path, *, guarded: bool = True, camera: Any = None, pilot: Any = None,
        script: dict[int, tuple[Any, ...]] | None = None, motor_fails: int = 0,
    ) -> None:  # fmt: skip
        self.wheels, self.motor = Wheels(), Motor(motor_fails)
        self.launch = AiLaunch(launch_duration=0.5, launch_throttle=1.0)
        self.pilot = pilot or Pilot()
        self.guard: GuardPart | None = None
        self.vehicle = v = Vehicle()
        v.mem.put(["guard/mode", "user/angle", "user/throttle"], ["none", -0.5, 0.2])
        eyes = camera or Camera()
        v.add(Clock(eyes))
        v.add(Script([], script or {0: ("local", True)}), outputs=["user/mode", "run_pilot"])
        v.add(eyes, outputs=["cam/image_array"], threaded=True)
        made = [*PILOT, "pilot/made"] if guarded else PILOT
        v.add(Stamped(self.pilot) if guarded else self.pilot, inputs=["cam/image_array"],
              outputs=made, run_condition="run_pilot")  # fmt: skip
        v.add(self.launch, inputs=["user/mode", "pilot/throttle"], outputs=["pilot/throttle"])
        if guarded:
            self.guard = GuardPart(write_policy(folder), at_end=self.motor_off)
            v.add(self.guard, inputs=self.guard.inputs, outputs=self.guard.outputs)
        v.add(DriveMode(), inputs=["user/mode", "user/angle", "user/throttle", *PILOT],
              outputs=["steering", "throttle"])  # fmt: skip
        v.add(self.wheels, inputs=["steering", "throttle", "guard/mode"])
        v.add(TubWriter(str(folder / "tub"), inputs=list(TUB), types=list(TUB.values())),
              inputs=list(TUB), outputs=["tub/num_records"])  # fmt: skip
        v.add(self.motor, inputs=["throttle"])

    def motor_off(self) -> None:
        """As the page has it."""
        for entry in self.vehicle.parts:
            if entry["inputs"] == ["throttle"] and not entry["outputs"]:
                entry["part"].run(0.0)

    def start(self, loops: int = LOOPS) -> Drive:
        self.vehicle.start(rate_hz=FAST_HZ, max_loop_count=loops)
        return self


def page_policy() -> str:
    page = (ROOT / "docs" / "integrations" / "donkeycar.md").read_text()
    return "#" + page.split("# guard.toml", 1)[1].split("```")[0]


def write_policy(folder: Path, text: str | None = None) -> Path:
    number("angle", -1, 1).save(folder / "angle.card.json")
    number("throttle", -1, 1).save(folder / "throttle.card.json")
    (folder / "guard.toml").write_text(text or page_policy())
    return folder / "guard.toml"


def test_the_pilot_drives_and_the_tub_says_who_did(tmp_path: Path) -> None:
    drive = Drive(tmp_path).start()
    assert len(drive.wheels.throttle) == LOOPS
    assert drive.wheels.modes[0] == "FALLBACK" and drive.wheels.modes[-1] == "NOMINAL"
    assert drive.wheels.steering[-1] == pytest.approx(0.3, abs=1e-4)
    assert drive.wheels.throttle[-1] == pytest.approx(0.4, abs=1e-4)
    assert np.diff(drive.wheels.throttle).max() <= 0.5 / HZ + 1e-4, "no faster than its rate"
    records = list(Tub(str(tmp_path / "tub"), read_only=True))
    assert [r["guard/mode"] for r in records] == drive.wheels.modes
    assert [r["throttle"] for r in records] == drive.wheels.throttle
    assert drive.motor.turns == 0.0 and drive.guard is not None and not drive.guard.guard.members


@pytest.mark.parametrize("guarded", [False, True])
def test_a_camera_thread_that_dies_says_nothing_and_is_found(tmp_path: Path, guarded: bool) -> None:
    drive = Drive(tmp_path, guarded=guarded, camera=Camera(lives=ONSET)).start(44)
    assert len(drive.wheels.throttle) == 44, "donkeycar itself notices nothing"
    if guarded:
        assert drive.wheels.modes[-1] == "FALLBACK"
        assert drive.guard is not None and drive.guard.decision is not None
        assert "FROZEN_INPUT" in drive.guard.decision.causes
        assert drive.wheels.throttle[-1] == 0.0
    else:
        assert drive.wheels.throttle[-1] == pytest.approx(0.4)


@pytest.mark.parametrize("guarded", [False, True])
def test_a_pilot_that_raises_ends_the_loop_or_only_its_own_say(
    tmp_path: Path, guarded: bool
) -> None:
    pilot = Pilot(lambda n: ONSET <= n < ONSET + 8)
    drive = Drive(tmp_path, guarded=guarded, pilot=pilot).start(60)
    if not guarded:
        assert len(drive.wheels.throttle) == ONSET - 1
        assert drive.wheels.throttle[-1] == pytest.approx(0.4), "and the motor keeps it"
        return
    assert len(drive.wheels.throttle) == 60
    after = drive.wheels.throttle[ONSET - 1 :]
    assert drive.wheels.modes[ONSET - 1] == "FALLBACK"
    assert after[0] < 0.4 and min(after[:12]) == 0.0
    assert drive.wheels.modes[-1] == "NOMINAL" and after[-1] > 0.3, "it came back"


@pytest.mark.parametrize("guarded", [False, True])
def test_memory_serves_the_answers_of_a_pilot_that_does_not_run(
    tmp_path: Path, guarded: bool
) -> None:
    script = {0: ("local", True), ONSET: ("local", False)}
    drive = Drive(tmp_path, guarded=guarded, script=script).start(44)
    assert drive.pilot.runs == ONSET
    if guarded:
        assert drive.wheels.modes[-1] == "FALLBACK"
        assert drive.wheels.throttle[-1] == 0.0
    else:
        assert drive.wheels.throttle[-1] == pytest.approx(0.4)


@pytest.mark.parametrize("guarded", [False, True])
def test_a_loop_that_ends_leaves_the_motor_running_unless_it_is_stopped(
    tmp_path: Path, guarded: bool
) -> None:
    drive = Drive(tmp_path, guarded=guarded, motor_fails=25).start()
    assert len(drive.wheels.throttle) == 25
    assert drive.wheels.throttle[-1] > 0.3
    assert drive.motor.turns == (0.0 if guarded else pytest.approx(drive.wheels.throttle[-1]))


def test_the_template_has_the_lines_that_the_page_changes() -> None:
    template = Path(complete.__file__).read_text()
    for line in (
        "V.add(kl, inputs=inputs, outputs=outputs, run_condition='run_pilot')",
        "outputs = ['pilot/angle', 'pilot/throttle']",
        "V.add(DriveMode(cfg.AI_THROTTLE_MULT),",
        "V.add(throttle, inputs=['throttle'], threaded=True)",
        "V.add(left_motor, inputs=['left/throttle'])",
        "V.add(vesc, inputs=['steering', 'throttle'])",
    ):
        assert line in template
    assert template.index("AiLaunch(cfg") < template.index("V.add(DriveMode(")


def test_what_a_part_writes_after_the_pilot_is_guarded_too(tmp_path: Path) -> None:
    drive = Drive(tmp_path)
    drive.launch.enable_ai_launch()
    drive.start()
    assert max(drive.wheels.throttle) <= 0.5, "the launcher asked for all of it"
    assert np.diff(drive.wheels.throttle).max() <= 0.5 / HZ + 1e-4


def test_a_person_drives_and_hands_over_without_a_jump(tmp_path: Path) -> None:
    drive = Drive(tmp_path, script={0: ("user", False), ONSET: ("local", True)}).start()
    wheels = drive.wheels
    assert set(wheels.throttle[:ONSET]) == {0.2} and set(wheels.steering[:ONSET]) == {-0.5}
    assert abs(wheels.throttle[ONSET] - 0.2) <= 2.0 / HZ + 1e-4
    assert abs(wheels.steering[ONSET] + 0.5) <= 8.0 / HZ + 1e-4
    assert wheels.steering[-1] == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize(
    "said", [(None, None), (np.nan, 0.4), (3.0, 0.4), ("left", 0.4), (np.zeros(2), 0.4), None],
    ids=str,
)  # fmt: skip
def test_what_is_no_answer_drives_nowhere(tmp_path: Path, said: Any) -> None:
    """Without a loop: straight into the part."""
    part = GuardPart(write_policy(tmp_path))
    image = Camera()
    pilot = Stamped(type("Odd", (), {"run": lambda self, picture: said})())
    for _ in range(12):
        Clock.now_ns += 50_000_000
        angle, throttle, *made = pilot.run(image.picture())
        done = part.run(
            image.picture(), angle, throttle, made[0] if made else None, "local", 0.1, 0.2
        )
    assert done == (pytest.approx(0.1, abs=0.4), pytest.approx(0.0, abs=0.2), "FALLBACK")
    part.shutdown()


def test_a_policy_without_the_channels_is_refused(tmp_path: Path) -> None:
    wrong = (
        page_policy()
        .replace("channel.throttle]", "channel.gas]")
        .replace('may_suggest = ["throttle"]', 'may_suggest = ["gas"]')
    )
    with pytest.raises(ConfigError, match=r"channel\.throttle: is not there; donkeycar needs it"):
        GuardPart(write_policy(tmp_path, wrong))


def test_the_page_word_for_word(tmp_path: Path) -> None:
    """In real time: how fast it got, and in which mode, a busy machine decides."""
    *_, said = follow("donkeycar.md", tmp_path)
    loops = [line.split() for line in said.splitlines() if line.endswith(MODES)]
    assert len(loops) == 60
    drove = [throttle for _, throttle, mode in loops if mode in MODES[:2]]
    assert max(map(float, drove)) > 0.0, "the pilot drove"
    assert loops[-1][1] == "0.00" and loops[-1][2] in MODES[2:], "and not without a camera"
    assert len(list(Tub(str(tmp_path / "tub"), read_only=True))) == 60
