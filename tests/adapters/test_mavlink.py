# SPDX-License-Identifier: Apache-2.0
"""The MAVLink companion against an autopilot in a process of its own, over UDP, in real time."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pymavlink", reason="the extra mavlink")

from pymavlink import mavutil

from edgeguard import Guard
from edgeguard.adapters.card import number
from edgeguard.adapters.mavlink import Setpoints, Vehicle
from edgeguard.errors import ConfigError, EdgeguardError
from tests.adapters.autopilot import GUIDED, SET_MESSAGE_INTERVAL
from tests.adapters.pages import ROOT, follow

pytestmark = pytest.mark.alone

PERIOD_NS = 20_000_000
AXES = {"forward": "speed_target", "turn": "turn_rate"}


def page_policy() -> str:
    page = (ROOT / "docs" / "integrations" / "mavlink.md").read_text()
    return page.split("# guard.toml", 1)[1].split("```")[0]


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    number("speed", -5, 5, "m/s").save(tmp_path / "speed.card.json")
    number("turn", -1, 1, "rad/s").save(tmp_path / "turn.card.json")
    (tmp_path / "guard.toml").write_text("#" + page_policy())
    with Guard.load(tmp_path / "guard.toml", "a person") as made:
        made.arm()
        yield made


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Peer:
    """The autopilot's process, and what it told."""

    def __init__(self, kind: str) -> None:
        self.port = port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.adapters.autopilot", kind, str(port)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        self._events: list[dict[str, Any]] = []
        assert self._process.stdout is not None
        self._events.append(json.loads(self._process.stdout.readline()))
        threading.Thread(target=self._read, daemon=True).start()
        self.link: Any = mavutil.mavlink_connection(f"udpout:127.0.0.1:{port}", source_system=42)
        self.link.mav.ping_send(0, 0, 0, 0)  # it answers to whoever spoke

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._events.append(json.loads(line))

    def told(self, event: str, since: float = 0.0) -> list[dict[str, Any]]:
        return [e for e in list(self._events) if e["event"] == event and e["t"] >= since]

    @property
    def speed(self) -> float:
        return float(self.told("speed")[-1]["speed"])

    def ask_mode(self) -> bool:
        """Ask for the guided mode; whether it was given."""
        n = len(self.told("mode"))
        self.link.mav.command_long_send(
            1, 1, mavutil.mavlink.MAV_CMD_DO_SET_MODE, 0, 1, 0, 0, 0, 0, 0, 0
        )
        end = time.monotonic() + 5
        while len(self.told("mode")) == n and time.monotonic() < end:
            time.sleep(0.005)
        return bool(self.told("mode")[-1]["taken"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def peer(kind: str) -> Iterator[Peer]:
    made = Peer(kind)
    try:
        yield made
    finally:
        made.close()


class Companion:
    """The loop that a user writes."""

    def __init__(self, guard: Guard, link: Any, kind: str) -> None:
        self.guard, self.send = guard, Setpoints(link, guard.config, AXES)
        self.vehicle = Vehicle(link, GUIDED[kind], max_age_ms=1000)
        self.decisions: list[Any] = []

    def tick(self, want: float | None) -> None:
        t_ns = time.monotonic_ns()
        if want is not None:
            for member, value in (("planner", want), ("steerer", 0.2)):
                self.guard.suggest(member, np.float32([value]), t_ns, t_ns)
        self.decisions.append(self.guard.decide(self.vehicle.signals(t_ns), t_ns))
        self.send(self.decisions[-1], t_ns)

    def run(self, seconds: float, want: float | None) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.tick(want)
            time.sleep(PERIOD_NS / 1e9)


def hears(one: Peer, loop: Companion) -> None:
    """Until the vehicle's speed is known: without it the guard stops for good."""
    hud = mavutil.mavlink.MAVLINK_MSG_ID_VFR_HUD
    one.link.mav.command_long_send(1, 1, SET_MESSAGE_INTERVAL, 0, hud, 50_000, 0, 0, 0, 0, 0)
    end = time.monotonic() + 5
    while not np.isfinite(loop.vehicle.signals(time.monotonic_ns())["speed"]):
        assert time.monotonic() < end
        time.sleep(0.02)


def enter(one: Peer, loop: Companion) -> None:
    """Until the autopilot follows: PX4 wants to see setpoints for a second first."""
    end = time.monotonic() + 20
    loop.run(0.3, 2.0)
    while not one.ask_mode():
        assert time.monotonic() < end
        loop.run(0.2, 2.0)
    while not loop.decisions[-1].active:  # until its heartbeat says so
        assert time.monotonic() < end
        loop.run(0.2, 2.0)


@pytest.mark.parametrize(("kind", "patience_s"), [("px4", 1.0), ("rover", 3.0)])
def test_the_vehicle_stops_by_its_own_time_out_when_the_loop_hangs(
    guard: Guard, kind: str, patience_s: float
) -> None:
    with peer(kind) as one:
        loop = Companion(guard, one.link, kind)
        hears(one, loop)
        assert one.ask_mode() == (kind == "rover"), "PX4 wants to see setpoints first"
        began = time.monotonic()
        enter(one, loop)
        loop.run(1.0, 2.0)
        assert one.speed > 1.0 and not one.told("lost") and not one.told("refused")
        sent = [round(d.command["speed_target"] if d.active else 0.0, 4) for d in loop.decisions]
        assert not loop.decisions[0].active, "the mode was asked for with a vehicle that stands"
        heard = [round(e["vx"], 4) for e in one.told("setpoint")]
        assert set(heard) <= set(sent) and len(heard) > 0.9 * len(sent)
        assert {e["from_system"] for e in one.told("setpoint")} == {42}
        hung = time.monotonic()
        assert 1 <= len(one.told("heartbeat")) <= hung - began + 1

        over = threading.Event()
        threading.Thread(target=_stubborn, args=(loop, over), daemon=True).start()
        while one.speed > 0.0:
            assert time.monotonic() < hung + 30, "it never stopped"
            time.sleep(0.05)
        over.set()
        (lost,) = one.told("lost")
        assert lost["after"] >= patience_s, "it did not stop for another reason"
        assert not one.told("heartbeat", hung) and not one.told("setpoint", hung + 0.1)


def _stubborn(loop: Companion, stop: threading.Event) -> None:
    """The thread that many write: it shows the world the last decision, whatever the loop does."""
    while not stop.is_set():
        loop.send(loop.decisions[-1], time.monotonic_ns())
        time.sleep(0.1)


def test_without_this_a_thread_keeps_a_dead_planner_driving(guard: Guard) -> None:
    """The control: the same thread with a plain send, and the vehicle drives on at its speed."""
    with peer("px4") as one:
        loop = Companion(guard, one.link, "px4")
        hears(one, loop)
        enter(one, loop)
        loop.run(0.8, 2.0)
        last = loop.decisions[-1].command["speed_target"]
        end = time.monotonic() + 1.6
        while time.monotonic() < end:
            one.link.mav.set_position_target_local_ned_send(
                0, 1, 1, 8, 0x5C7, 0, 0, 0, last, 0, 0, 0, 0, 0, 0, 0
            )
            time.sleep(0.1)
        assert not one.told("lost") and one.speed > 1.0


def test_a_planner_that_hangs_while_the_loop_lives_is_slowed_by_the_rule(guard: Guard) -> None:
    with peer("px4") as one:
        loop = Companion(guard, one.link, "px4")
        hears(one, loop)
        enter(one, loop)
        loop.run(0.7, 2.0)
        assert one.speed > 0.3
        loop.run(1.3, None)
        assert loop.decisions[-1].mode.name == "FALLBACK"
        assert one.speed < 0.05 and not one.told("lost"), "it stands by command, not by time-out"
        assert {e["state"] for e in one.told("heartbeat")} >= {4, 5}


class Wire:
    """Takes what pymavlink packs."""

    def __init__(self) -> None:
        self.packed: list[Any] = []
        self.mav: Any = mavutil.mavlink.MAVLink(self, srcSystem=42)

    def write(self, data: bytes) -> None:
        reader = mavutil.mavlink.MAVLink(None)
        self.packed += reader.parse_buffer(bytearray(data)) or []

    def of(self, kind: str) -> list[Any]:
        return [m for m in self.packed if m.get_type() == kind]


def test_while_nobody_asks_it_stands_and_no_more_is_sent_than_the_link_takes(guard: Guard) -> None:
    wire = Wire()
    send = Setpoints(wire, guard.config, AXES, most_hz=10)
    for tick in range(1, 201):
        t_ns = tick * PERIOD_NS
        send(guard.decide({"speed": 1.5, "engaged": 0.0}, t_ns), t_ns)
    setpoints = wire.of("SET_POSITION_TARGET_LOCAL_NED")
    assert 36 <= len(setpoints) <= 42, "four seconds at 10 Hz"
    assert {(m.vx, m.vy, m.vz, m.yaw_rate) for m in setpoints} == {(0, 0, 0, 0)}
    assert len(wire.of("HEARTBEAT")) == 4


def test_who_takes_over_leaves_no_setpoint_behind(guard: Guard) -> None:
    wire = Wire()
    send = Setpoints(wire, guard.config, AXES)
    for tick in range(1, 200):
        t_ns = tick * PERIOD_NS
        for member, value in (("planner", 2.0), ("steerer", 0.8)):
            guard.suggest(member, np.float32([value]), t_ns, t_ns)
        if tick == 150:
            before = wire.of("SET_POSITION_TARGET_LOCAL_NED")[-1]
            guard.takeover()
        send(guard.decide({"speed": 2.0}, t_ns), t_ns)
    after = wire.of("SET_POSITION_TARGET_LOCAL_NED")[-49:]
    assert (before.vx, before.yaw_rate) == (2.0, pytest.approx(0.8, abs=1e-3))
    assert {(m.vx, m.yaw_rate) for m in after} == {(0, 0)}


def test_what_cannot_go_sideways_is_not_told_to(guard: Guard) -> None:
    for axis, name in (("right", "speed_target"), ("down", "speed_target")):
        with pytest.raises(ConfigError, match=f"axis '{axis}': a rover would drive forward"):
            Setpoints(Wire(), guard.config, {axis: name})
    wire = Wire()
    send = Setpoints(wire, guard.config, {"right": "speed_target"}, flies=True)
    for tick in range(1, 100):
        t_ns = tick * PERIOD_NS
        guard.suggest("planner", np.float32([2.0]), t_ns, t_ns)
        guard.suggest("steerer", np.float32([0.0]), t_ns, t_ns)
        send(guard.decide({"speed": 2.0, "engaged": 1.0}, t_ns), t_ns)
    last = wire.of("SET_POSITION_TARGET_LOCAL_NED")[-1]
    assert (last.vx, last.vy, last.vz) == (0, 2.0, 0)


def test_a_stream_that_comes_in_pieces_is_read_to_its_end() -> None:
    """Bridges from a serial port make datagrams of whatever bytes were there."""
    port = free_port()
    link: Any = mavutil.mavlink_connection(f"udpin:127.0.0.1:{port}", source_system=42)
    vehicle = Vehicle(link, GUIDED["rover"])
    packer = mavutil.mavlink.MAVLink(None, srcSystem=1, srcComponent=1)
    data = b"".join(
        packer.vfr_hud_encode(0.0, float(n), 0, 0, 0.0, 0.0).pack(packer) for n in range(1, 21)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bridge:
        for at in range(0, len(data), 12):
            bridge.sendto(data[at : at + 12], ("127.0.0.1", port))
    assert vehicle.signals(1_000_000_000)["speed"] == 20.0
    link.close()


class Gone(Wire):
    """A serial port that was pulled out, as pymavlink shows it."""

    address, portdead = "/dev/ttyACM0", True

    def recv_msg(self) -> Any:
        raise OSError("read failed: device disconnected")


def test_a_port_that_was_pulled_out_is_heard_no_more_and_ends_the_sending(guard: Guard) -> None:
    vehicle = Vehicle(Gone(), GUIDED["rover"])
    said = vehicle.signals(1_000_000_000)
    assert np.isnan(said["speed"]) and said["engaged"] == 0.0
    send = Setpoints(Gone(), guard.config, AXES)
    with pytest.raises(EdgeguardError, match=r"^MAVLink: /dev/ttyACM0: the port is gone$"):
        send(guard.decide({"speed": 0.0}, PERIOD_NS), PERIOD_NS)


def test_a_stop_is_a_command_and_not_silence(guard: Guard) -> None:
    wire = Wire()
    send = Setpoints(wire, guard.config, AXES)
    for tick in range(1, 60):
        send(guard.decide({"speed": float("nan")}, tick * PERIOD_NS), tick * PERIOD_NS)
    last = wire.of("SET_POSITION_TARGET_LOCAL_NED")[-1]
    assert (last.vx, last.vy, last.vz, last.yaw_rate) == (0, 0, 0, 0)
    assert (last.coordinate_frame, last.type_mask) == (8, 0b010111000111)
    assert last.time_boot_ms == 59 * 20
    assert wire.of("HEARTBEAT")[-1].system_status == 6


class Heard:
    """A link on which messages wait."""

    mav: Any = mavutil.mavlink.MAVLink(None)

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def recv_msg(self) -> Any:
        return self.waiting.pop() if self.waiting else None


def say(sender: int, make: str, *fields: Any, component: int = 1) -> Any:
    packer = mavutil.mavlink.MAVLink(None, srcSystem=sender, srcComponent=component)
    data = getattr(packer, make + "_encode")(*fields).pack(packer)
    return mavutil.mavlink.MAVLink(None).parse_buffer(bytearray(data))[0]


def test_what_was_heard_long_ago_is_not_what_is() -> None:
    link = Heard()
    vehicle = Vehicle(link, GUIDED["rover"])
    assert np.isnan(vehicle.signals(0)["speed"]) and vehicle.signals(0)["engaged"] == 0.0
    link.waiting = [
        say(1, "vfr_hud", 0.0, 3.5, 0, 0, 0.0, 0.0), say(1, "heartbeat", 10, 3, 128, 15, 4),
        say(7, "vfr_hud", 0.0, 9.0, 0, 0, 0.0, 0.0), say(1, "heartbeat", 18, 8, 0, 0, 4),
    ]  # fmt: skip
    assert vehicle.signals(1_000_000_000) == {"speed": 3.5, "engaged": 1.0}
    assert vehicle.signals(1_500_000_000)["speed"] == 3.5
    later = vehicle.signals(1_501_000_000)
    assert np.isnan(later["speed"]) and later["engaged"] == 1.0
    assert vehicle.signals(4_001_000_000)["engaged"] == 0.0, "three heartbeats were missed"
    link.waiting = [say(1, "heartbeat", 10, 3, 0, 15, 4)]
    assert vehicle.signals(5_000_000_000)["engaged"] == 0.0, "disarmed"


@pytest.mark.parametrize(
    "other",
    [
        say(1, "heartbeat", 26, 8, 0, 0, 4, component=154),  # a gimbal
        say(1, "heartbeat", 30, 8, 0, 0, 4),  # a camera that calls itself component 1
        say(1, "heartbeat", 10, 3, 0, 0, 4, component=2),
    ],
)
def test_only_the_autopilot_says_whether_it_follows(other: Any) -> None:
    link = Heard()
    vehicle = Vehicle(link, GUIDED["rover"])
    link.waiting = [say(1, "heartbeat", 10, 3, 128, 15, 4)]
    assert vehicle.signals(1_000_000_000)["engaged"] == 1.0
    link.waiting = [other, say(1, "vfr_hud", 0.0, 9.0, 0, 0, 0.0, 0.0, component=154)]
    heard = vehicle.signals(1_100_000_000)
    assert heard["engaged"] == 1.0 and np.isnan(heard["speed"])


def ticks(guard: Guard, first: int, last: int, want: float | None, **signals: float) -> list[float]:
    """speed_target on each of these ticks."""
    found = []
    for tick in range(first, last):
        t_ns = tick * PERIOD_NS
        if want is not None:
            for member, value in (("planner", want), ("steerer", 0.0)):
                guard.suggest(member, np.float32([value]), t_ns, t_ns)
        decision = guard.decide({"speed": 0.0, **signals}, t_ns)
        found.append(decision.command["speed_target"])
    return found


def test_a_vehicle_that_reverses_is_slowed_by_the_rule_as_well(guard: Guard) -> None:
    assert ticks(guard, 1, 80, -0.9)[-1] == pytest.approx(-0.9, abs=1e-3)
    after = ticks(guard, 80, 160, None)  # the planner hangs
    assert after[-1] == 0.0 and max(after) == 0.0


def test_who_comes_back_to_the_guided_mode_begins_at_the_vehicles_speed(guard: Guard) -> None:
    assert ticks(guard, 1, 150, 2.0)[-1] == pytest.approx(2.0, abs=1e-3)
    ticks(guard, 150, 200, 2.0, engaged=0.0, speed=0.5)  # a person drives, and slows down
    again = ticks(guard, 200, 203, 2.0, engaged=1.0, speed=0.5)
    assert max(again) <= 0.5 + 3 * 1.5 * 0.02 + 1e-3


def test_a_turn_from_before_a_person_drove_is_not_resumed(guard: Guard) -> None:
    for tick in range(1, 300):
        t_ns = tick * PERIOD_NS
        for member, value in (("planner", 0.0), ("steerer", 0.8 if tick < 150 else 0.0)):
            guard.suggest(member, np.float32([value]), t_ns, t_ns)
        engaged = float(not 100 <= tick < 200)
        decision = guard.decide({"speed": 0.0, "engaged": engaged}, t_ns)
        if tick == 99:
            assert decision.command["turn_rate"] == pytest.approx(0.8, abs=1e-3)
        if tick >= 200:
            assert decision.command["turn_rate"] == 0.0


def test_a_speed_that_nobody_measures_is_refused(tmp_path: Path) -> None:
    number("speed", -5, 5, "m/s").save(tmp_path / "speed.card.json")
    number("turn", -1, 1, "rad/s").save(tmp_path / "turn.card.json")
    lines = page_policy().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("measured = "))
    (tmp_path / "guard.toml").write_text("#" + text)
    with (
        Guard.load(tmp_path / "guard.toml") as blind,
        pytest.raises(ConfigError, match=r"channel\.speed_target\.measured: missing; name"),
    ):
        Setpoints(Wire(), blind.config, AXES)


@pytest.mark.parametrize(
    ("axes", "complaint"),
    [
        ({"ahead": "speed_target"}, "axis 'ahead': want one of forward, right, down, turn"),
        ({"forward": "pace"}, "channel.pace: is not there"),
        ({"forward": "turn_rate"}, "channel.turn_rate.unit: is rad/s; MAVLink takes m/s"),
    ],
)
def test_axes_that_do_not_fit(guard: Guard, axes: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Setpoints(Wire(), guard.config, axes)


def test_the_page_word_for_word(tmp_path: Path) -> None:
    *_, said = follow("mavlink.md", tmp_path)
    _waits, *lines = [line.split() for line in said.splitlines()]
    assert len(lines) == 100
    assert lines[0][1] == lines[-1][1] == "FALLBACK"
    assert float(lines[49][2]) > 0.5
    assert float(lines[-1][2]) < 0.1, "the planner hangs from step 50 on"

    # The same with a vehicle, which answers later than the loop would begin without it.
    page = (tmp_path / "companion.py").read_text()
    desk = next(line for line in page.splitlines() if "leave this line out" in line)
    with peer("rover") as one:
        page = page.replace(desk, "").replace("127.0.0.1:14550", f"127.0.0.1:{one.port}")
        (tmp_path / "companion.py").write_text(page)
        ran = subprocess.run(
            [sys.executable, "companion.py"], cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        _waits, *lines = ran.stdout.splitlines()
        assert len(lines) == 100
        assert not any("SAFE_STOP" in line for line in lines)
