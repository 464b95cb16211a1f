# SPDX-License-Identifier: Apache-2.0
"""Commands as CAN frames: what is in them, what is refused, and a bus that takes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

can = pytest.importorskip("can", reason="the extra can")
cantools = pytest.importorskip("cantools", reason="reads DBC files")

from edgeguard import Guard  # noqa: E402
from edgeguard.adapters.can import Commands, Message  # noqa: E402
from edgeguard.adapters.card import number  # noqa: E402
from edgeguard.errors import ConfigError, EdgeguardError  # noqa: E402
from tests.adapters.pages import ROOT, follow  # noqa: E402

PERIOD_NS = 20_000_000


def block(name: str) -> str:
    page = (ROOT / "docs" / "integrations" / "can.md").read_text()
    return name + page.split(name, 1)[1].split("```")[0]


DBC = 'VERSION "' + block("shuttle.dbc")


def drive(command: Mapping[str, float], active: bool) -> dict[str, float]:
    return {"TARGET_SPEED": command["target_speed"], "REQUEST": active}


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    number("planner", 0, 30, "m/s").save(tmp_path / "planner.card.json")
    (tmp_path / "guard.toml").write_text("# " + block("guard.toml\n"))
    with Guard.load(tmp_path / "guard.toml") as made:
        made.arm()
        yield made


def database(text: str = DBC) -> Any:
    return cantools.database.load_string(text, "dbc")


def decisions(guard: Guard, n: int, speed: float = 3.0, engaged: float = 1.0) -> Iterator[Any]:
    for tick in range(1, n + 1):
        t_ns = tick * PERIOD_NS
        guard.suggest("planner", np.float32([12.0]), t_ns, t_ns)
        yield guard.decide({"speed": speed, "engaged": engaged}, t_ns), t_ns


@pytest.mark.parametrize("engaged", [0.0, 1.0])
def test_every_decision_is_one_frame_with_its_bits_where_the_file_says(
    guard: Guard, engaged: float
) -> None:
    with can.Bus("one", "virtual") as bus, can.Bus("one", "virtual") as vehicle:
        send = Commands(bus, database(), guard.config, [Message("DRIVE_COMMAND", drive)])
        for decision, t_ns in decisions(guard, 50, engaged=engaged):
            send(decision, t_ns)
            frame = vehicle.recv(timeout=0)
            assert frame.arbitration_id == 528 and not frame.is_extended_id
            raw = int.from_bytes(frame.data[:2], "little")
            assert raw == round(decision.command["target_speed"] * 100)
            assert frame.data[2:] == bytes([engaged == 1.0, 0, 0, 0, 0, 0])
        assert vehicle.recv(timeout=0) is None
    # the rule for the first 200 ms, then upwards
    assert decision.command["target_speed"] == pytest.approx(3.5 if engaged else 3.0, abs=0.1)


def test_counter_and_checksum_are_the_users_and_count_what_was_sent(guard: Guard) -> None:
    def seal(frame_id: int, data: bytearray, sent: int) -> None:
        data[3], data[7] = sent % 16, frame_id & 0xFF

    with can.Bus("two", "virtual") as bus, can.Bus("two", "virtual") as vehicle:
        send = Commands(bus, database(), guard.config, [Message("DRIVE_COMMAND", drive, seal)])
        seen = []
        for made in decisions(guard, 20):
            send(*made)
            seen.append(vehicle.recv(timeout=0).data)
    assert [s[3] for s in seen] == [n % 16 for n in range(20)]
    assert {s[7] for s in seen} == {528 & 0xFF}


@pytest.mark.parametrize(
    ("old", "new", "name", "complaint"),
    [
        ("", "", "STEER", "STEER: the DBC file has no such message"),
        ("TARGET_SPEED", "SPEED", "DRIVE_COMMAND", "at target_speed = 0: has no signal TARGET"),
        # the measured speed goes to 30, and while nobody asks for commands they follow it
        ("[0|100]", "[0|20]", "DRIVE_COMMAND", r"at target_speed = 22\.5: .*TARGET_SPEED.*20"),
        ("0|16@1+ (0.01", "0|8@1+ (0.01", "DRIVE_COMMAND", r"at target_speed = 3\.75: .*"),
        ("COUNTER :", "COUNTER M :", "DRIVE_COMMAND", "is multiplexed, which is not supported"),
    ],
)
def test_what_a_frame_could_not_hold_is_refused_before_the_first_one(
    guard: Guard, old: str, new: str, name: str, complaint: str
) -> None:
    assert old in DBC
    text = DBC.replace(old, new).replace(
        "CHECKSUM :", "CHECKSUM m0 :" if "M :" in new else "CHECKSUM :"
    )
    with (
        can.Bus("three", "virtual") as bus,
        pytest.raises(ConfigError, match=f"^CAN: {name}: .*|.*{complaint}") as caught,
    ):
        Commands(bus, database(text), guard.config, [Message(name, drive)])
    assert re.search(complaint, str(caught.value))


def pole(command: Mapping[str, float], active: bool) -> dict[str, float]:
    return {"TARGET_SPEED": 1 / abs(command["target_speed"] - 15.0)}


def outside(frame_id: int, data: bytearray, sent: int) -> None:
    data[8] = sent


def longer(frame_id: int, data: bytearray, sent: int) -> None:
    data.append(sent % 256)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (Message("DRIVE_COMMAND", lambda c, a: {"TARGET_SPEED": c["speed"]}), "KeyError"),
        (Message("DRIVE_COMMAND", lambda c, a: {"TARGET_SPEED": float("nan")}), "ValueError"),
        (Message("DRIVE_COMMAND", lambda c, a: {"TARGET_SPEED": None}), "TypeError"),
        (Message("DRIVE_COMMAND", lambda c, a: None), "AttributeError"),
        (Message("DRIVE_COMMAND", pole), "at target_speed = 15: ZeroDivisionError"),
        (Message("DRIVE_COMMAND", drive, outside), "IndexError"),
        (Message("DRIVE_COMMAND", drive, longer), "seal: made 9 bytes of 8"),
    ],
)
def test_what_a_user_gets_wrong_is_named_before_the_road(
    guard: Guard, message: Message, complaint: str
) -> None:
    with can.Bus("four", "virtual") as bus, pytest.raises(ConfigError, match=complaint):
        Commands(bus, database(), guard.config, [message])


def test_numbers_of_numpy_are_numbers(guard: Guard) -> None:
    def single(command: Mapping[str, float], active: bool) -> dict[str, float]:
        return {"TARGET_SPEED": np.float32(command["target_speed"])}

    with can.Bus("five", "virtual") as bus, can.Bus("five", "virtual") as vehicle:
        Commands(bus, database(), guard.config, [Message("DRIVE_COMMAND", single)])(
            *next(decisions(guard, 1))
        )
        assert vehicle.recv(timeout=0).data[:2] == bytearray([0x24, 0x01])  # 2.92 m/s


def test_what_cannot_be_encoded_on_the_road_is_not_sent(guard: Guard) -> None:
    road = []

    def fails(command: Mapping[str, float], active: bool) -> dict[str, float]:
        return {"TARGET_SPEED": float("inf") if road else 0.0}

    with can.Bus("six", "virtual") as bus, can.Bus("six", "virtual") as vehicle:
        both = [Message("DRIVE_COMMAND", drive), Message("DRIVE_COMMAND", fails)]
        send = Commands(bus, database(), guard.config, both)
        road.append(True)
        with pytest.raises(EdgeguardError, match=r"^CAN: DRIVE_COMMAND: at target_speed = 2\.92"):
            send(*next(decisions(guard, 1)))
        assert vehicle.recv(timeout=0) is None


class Full(can.BusABC):  # type: ignore[misc]
    """A bus whose queue is full: what socketcan says when nobody acknowledges."""

    channel_info = "can0"

    def __init__(self, taken: set[int]) -> None:
        self.tries, self._taken = 0, taken

    def send(self, msg: Any, timeout: float | None = None) -> None:
        assert timeout == 0, "it may not wait in the deciding thread"
        self.tries += 1
        if self.tries not in self._taken:
            raise can.CanOperationError("No buffer space available", 105)


def test_a_bus_that_is_full_now_and_then_loses_those_frames_and_no_more(guard: Guard) -> None:
    bus = Full({10, 20, 30, 40})
    send = Commands(bus, database(), guard.config, [Message("DRIVE_COMMAND", drive)])
    for made in decisions(guard, 40):
        send(*made)
    assert (bus.tries, send.dropped) == (40, 36)


def test_a_bus_that_takes_nothing_ends_the_drive(guard: Guard) -> None:
    bus = Full(set())
    send = Commands(bus, database(), guard.config, [Message("DRIVE_COMMAND", drive)])
    with pytest.raises(EdgeguardError, match="CAN: can0: took nothing for 10 decisions"):
        for made in decisions(guard, 40):
            send(*made)
    assert bus.tries == 10


def test_the_page_word_for_word(tmp_path: Path) -> None:
    _, said = follow("can.md", tmp_path)
    lines = said.splitlines()
    assert len(lines) == 50
    assert "'REQUEST': 1" in lines[0] and "'COUNTER': 0" in lines[0]
    speeds = [float(re.findall(r"'TARGET_SPEED': ([\d.]+)", line)[0]) for line in lines]
    assert speeds[0] == 0.0 and speeds[-1] == pytest.approx(1.14, abs=0.2)
    assert max(np.diff(speeds)) <= 0.03 + 0.011
    assert all(int(line[14:16], 16) == sum(bytes.fromhex(line[:14])) & 0xFF for line in lines)
