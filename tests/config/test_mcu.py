# SPDX-License-Identifier: Apache-2.0
"""[mcu]: what the microcontroller owns, and what it cannot be given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeguard import config
from edgeguard.config.mcu import roles
from edgeguard.errors import ConfigError
from edgeguard.zoo import models_dir

Edit = Callable[[str, str], Path]
HEAD = "[camera.front]"


def test_without_the_table_the_units_say_who_is_who(folder: Path) -> None:
    found = roles(config.load(folder / "guard.toml"))
    assert found.channels == ("target_speed", "steering")
    assert found.speed_signal == "speed"
    assert found.steering_signal is None  # an angle of the vehicle's: not that of its wheels


def test_the_demo_has_a_table_for_a_microcontroller() -> None:
    made = config.mcu_dict(config.load(models_dir() / "guard.toml"))
    assert made["link"]["authenticated"] == 1
    assert len(made["policy"]["channels"]) == 1
    assert made["host_channel"] == [0]


def test_the_order_of_the_channels_is_the_hosts(folder: Path) -> None:
    file = folder / "guard.toml"
    head, speed, rest = file.read_text().partition("[channel.target_speed]")
    mine, steering, after = rest.partition("[channel.steering]")
    body, detector, tail = after.partition("[detector.dark]")
    file.write_text(head + steering + body + speed + mine + detector + tail)
    made = config.mcu_dict(config.load(file))
    assert made["host_channel"] == [1, 0]


def test_every_cause_of_the_link_stops_until_a_person_agrees(folder: Path) -> None:
    loaded = config.load(folder / "guard.toml")
    made = config.mcu_dict(loaded)
    rows = dict(zip(loaded.causes, made["policy"]["causes"], strict=True))
    for name in ("LINK_LOST", "LINK_FAULTY", "ANSWER_WRONG", "PEER_STOPPED", "SELF_TEST"):
        assert rows[name]["severity"] == 3
        assert rows[name]["clears"] == 1
        assert rows[name]["on_us"] == 0


REFUSED = [
    ('link = "can"', "mcu.link", "8 bytes and the E2E header alone takes 12"),
    ('link = "lin"', "mcu.link", "known: serial"),
    ('speed = "steering"', "mcu.speed", "is in rad; must be in m/s"),
    ('speed = "velocity"', "mcu.speed", "there is no [channel.velocity]"),
    ('steering = "target_speed"', "mcu.steering", "is in m/s; must be in rad"),
    ('speed_signal = "heading"', "mcu.speed_signal", "is in rad; must be in m/s"),
    ('steering_signal = "speed"', "mcu.steering_signal", "is in m/s; must be in rad"),
    ("max_command_age_ms = 50", "mcu.max_command_age_ms", "must be 10 (a period) to 20 ms"),
    ("authenticated = 1", "mcu.authenticated", "must be true or false"),
    ('key = "00"', "mcu.key", "unknown key"),
]


@pytest.mark.parametrize(("line", "key", "message"), REFUSED)
def test_refused_with_its_line_and_reason(edited: Edit, line: str, key: str, message: str) -> None:
    file = edited(HEAD, f"[mcu]\n{line}\n\n{HEAD}")
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    number = file.read_text().splitlines().index(line) + 1
    assert f"{file}:{number}: {key}: " in str(caught.value)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_period_that_the_link_cannot_keep(edited: Edit) -> None:
    file = edited("period_ms = 10", "period_ms = 3")
    file.write_text(file.read_text() + "\n[mcu]\n")
    with pytest.raises(ConfigError, match=r"guard\.period_ms: is 3; with a microcontroller"):
        config.load(file)


SLOWER = "\n[mcu]\n\n[cause.CONTROLLER_LOST]\non_ms = {}\n"


@pytest.mark.parametrize("period_ms", [5, 17, 12.5, 16.667, 16.384])
def test_a_period_that_the_link_keeps(edited: Edit, period_ms: float) -> None:
    file = edited("period_ms = 10", f"period_ms = {period_ms}")
    file.write_text(file.read_text() + SLOWER.format(3 * period_ms))
    assert config.load(file).guard.period_ms == period_ms


def test_what_the_link_accepts_is_not_late(edited: Edit) -> None:
    """A command that took as long as the slowest round trip that is armed."""
    made = config.mcu_dict(config.load(edited(HEAD, f"[mcu]\nmax_command_age_ms = 10\n\n{HEAD}")))
    assert made["link"]["max_age_us"] == 10_000
    assert {member["deadline_us"] for member in made["policy"]["members"]} == {20_000}


def test_without_the_table_only_who_wants_a_microcontroller_is_told(edited: Edit) -> None:
    loaded = config.load(edited("period_ms = 10", "period_ms = 3"))
    with pytest.raises(ConfigError, match=r"guard\.period_ms: is 3"):
        config.mcu_dict(loaded)


def test_check_prints_it(edited: Edit) -> None:
    import subprocess
    import sys

    file = edited(HEAD, f'[mcu]\nlink = "can-fd"\n\n{HEAD}')
    done = subprocess.run(
        [sys.executable, "-m", "edgeguard", "check", str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "can-fd, with authentication" in done.stdout
