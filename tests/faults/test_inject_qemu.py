# SPDX-License-Identifier: Apache-2.0
"""What the campaign in QEMU makes of attempts, and its host on a pty; none of it needs QEMU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from edgeguard import config
from edgeguard.errors import EdgeguardError
from edgeguard.zoo import models_dir
from firmware_bridge.campaign.case import KEYS
from firmware_bridge.campaign.faults_live import BY_ID
from firmware_bridge.campaign.live import Disturbed, Held, LiveCase
from firmware_bridge.campaign.qemu import AGAIN, ATTEMPTS, stands
from firmware_bridge.campaign.table import with_steering
from firmware_bridge.sim import sources
from tests.firmware_bridge.board import Board, pseudo_terminal

pytestmark = pytest.mark.alone

SEED = 0  # the first thing drawn is that the clock wraps
ROW = {"f": "F17", "i": 3, "k": "noise x9", "w": 0}
MACHINE = Disturbed("a tick or a frame came 7 ms late")
HELD = Held("noise x9", "its loop was held up for 22 ms")


def attempts(*outcomes: Exception | None) -> dict[str, Any]:
    """Each ends like this, None well; after the last of them no more are allowed."""
    left: Iterator[Exception | None] = iter(outcomes)

    def attempt() -> dict[str, Any]:
        outcome = next(left)
        if outcome is not None:
            raise outcome
        return dict(ROW)

    return stands(attempt, "F17", 3)


def test_an_attempt_that_was_disturbed_is_made_again_and_counted() -> None:
    assert attempts(None) == {**ROW, "g": 0}
    assert attempts(MACHINE, HELD, OSError("no port"), None) == {**ROW, "g": 3}


def test_what_is_held_up_again_and_again_is_wrong() -> None:
    row = attempts(MACHINE, *[HELD] * AGAIN)
    assert (row["w"], row["k"], row["g"]) == (1, "noise x9", 1)
    assert row["why"] == [f"its loop was held up for 22 ms, in {AGAIN} attempts"]
    assert attempts(*[HELD] * (AGAIN - 1), None)["w"] == 0


def test_a_machine_that_is_never_quiet_is_named() -> None:
    with pytest.raises(EdgeguardError, match=r"F17 3: .*7 ms late.*use a quiet machine"):
        attempts(*[MACHINE] * ATTEMPTS)


def wraps(table: dict[str, Any]) -> LiveCase:
    """A host whose clock wraps, against the twin on a pty; on a busy machine more than once."""
    for _ in range(8):
        reader, writer = os.pipe()
        try:
            with pseudo_terminal() as (master, port), Board(table, KEYS, master):
                case = LiveCase(BY_ID["F20"], 0, table, Random(SEED), KEYS, port, writer)
                case.fault.inject(case)
                return case
        except Disturbed:
            continue
        finally:
            os.close(reader)
            os.close(writer)
    raise AssertionError("the machine is too busy")


def test_the_hosts_clock_wraps_while_it_is_looked_at() -> None:
    table = with_steering(config.mcu_dict(config.load(models_dir() / "guard.toml")))
    case = wraps(table)
    assert case.kind == "host's clock wraps"
    first, last = (case.drive.host_us(us) for us in (case.onset_us, case.drive.us))
    assert (first >> 32, last >> 32) == (0, 1)


def test_results_are_of_the_sources_of_the_image() -> None:
    """Of firmware, board and core."""
    found = sources()
    assert {"main.c", "board.c", "decide.c", "link.c", "link.h"} <= {f.name for f in found}
    assert not any("fuzz" in f.parts or "proofs" in f.parts for f in found)
