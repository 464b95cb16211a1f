# SPDX-License-Identifier: Apache-2.0
"""What a vehicle's log is judged to be: late stops are wrong, whatever else was a little late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from firmware_bridge.campaign.case import Fault
from firmware_bridge.campaign.live import Disturbed, Held
from firmware_bridge.campaign.logged import judged
from firmware_bridge.campaign.told import Told

ONE, PERIOD_US, BEGIN_US, END_US = 65536, 10_000, 2_000_000, 3_500_000
ROW = {"at": 0, "min": 0, "max": 30 * ONE, "rise": 2 * ONE, "fall": 4 * ONE}
TABLE = {
    "policy": {"channels": [{"rows": [ROW], "table_signal": 255}]},
    "link": {"period_us": PERIOD_US, "max_age_us": 20_000},
}
SOFT = {"at": 0, "min": -ONE // 2, "max": ONE // 2, "rise": ONE // 2, "fall": ONE // 2}
STEERED: dict[str, Any] = {
    "policy": {"channels": [{"rows": [{**ROW, "fall": 9 * ONE}], "table_signal": 255},
                            {"rows": [SOFT], "table_signal": 255}]},
    "link": TABLE["link"],
}  # fmt: skip
FAULT = Fault("F23", "", "", frozenset({"SELF_TEST"}), lambda case: None)
FELL = round(4 * ONE * PERIOD_US / 1e6)


def told(must: bool | None = True, **more: Any) -> Told:
    """A host that commands 3 m/s in every period, heard 5 ms before each turn; soon after the fault
    it wants to the left."""
    usual = {"on_us": 1_000_000, "causes": frozenset({"SELF_TEST"}), "said": {"SELF_TEST"}}
    found = Told(kind="core", begin_us=BEGIN_US, must=must, **{**usual, **more})
    for i, at_us in enumerate(range(5_000, END_US, PERIOD_US), 1):
        left = ONE // 4 if at_us > BEGIN_US + 50_000 else 0
        found.arrivals.append((at_us, i, at_us - 1000, (3 * ONE, left), True))
    return found


def log(
    ramp_us: int, *, late_us: Callable[[int], int] = lambda at_us: 0,
    reset: tuple[int, int] | None = None, halt: tuple[int, int] | None = None,
    falls: int = FELL, turns_us: int = END_US,
) -> list[dict[str, Any]]:  # fmt: skip
    """A turn every 10 ms, and a ramp from `ramp_us` on. late_us: of the turn that is due then;
    reset: when, and how long it takes; halt: the processor and its timer stand still; falls: in a
    turn; turns_us: from then on it follows the host to the left."""
    rows, at_us, speed, number, booted_us, halted_us = [], 10_000, 3 * ONE, 0, 0, 0
    angle = 0
    while at_us < END_US:
        number += 1
        if reset is not None and at_us >= reset[0] and booted_us == 0:
            at_us += reset[1]
            booted_us, number = at_us, 1
            ramp_us = min(ramp_us, at_us)
        if halt is not None and at_us >= halt[0] and halted_us == 0:
            at_us, halted_us = at_us + halt[1], halt[1]
        at_us += late_us(at_us)
        if at_us >= ramp_us:
            speed = max(0, speed - falls)
        angle += 300 if turns_us <= at_us < turns_us + 100_000 else 0
        rows.append({"t_ns": at_us * 1000, "stamp_us": at_us - booted_us - halted_us,
                     "count": number, "target_q16": speed, "steering_q16": angle,
                     "speed": speed / ONE, "angle": angle / ONE})  # fmt: skip
        at_us += PERIOD_US
    return rows


def found(rows: list[dict[str, Any]], table: dict[str, Any] = TABLE, **more: Any) -> dict[str, Any]:
    return dict(judged(told(**more), rows, FAULT, 0, table))


FLIP = [(BEGIN_US, "flip")]


def test_a_stop_in_time_is_right() -> None:
    row = found(log(BEGIN_US + 10_000), done=FLIP)
    assert (row["w"], row["c"], "h" in row) == (0, True, False)
    assert 0 < row["t"] <= 10_000


@pytest.mark.parametrize("ramp_us", [60_000, 300_000, 900_000])
def test_a_late_stop_is_wrong_however_late(ramp_us: int) -> None:
    """Turns that are late by less than what is too late do not excuse it."""
    for late in (lambda at_us: 0, lambda at_us: 101 if at_us == BEGIN_US + 20_000 else 0):
        row = found(log(BEGIN_US + ramp_us, late_us=late), done=FLIP)
        assert row["w"] > 0
        assert row["why"][0].startswith("begins to stop")
        assert ramp_us < 100_000 or "is held up" in row["why"][1]


def test_a_stop_that_is_late_by_what_the_machine_took_is_made_again() -> None:
    def late(at_us: int) -> int:
        return 4000 if BEGIN_US <= at_us < BEGIN_US + 70_000 else 0

    with pytest.raises(Disturbed, match="late before it stopped"):
        found(log(BEGIN_US + 60_000, late_us=late), done=FLIP)


def test_no_stop_is_wrong() -> None:
    row = found(log(END_US), done=FLIP)
    assert row["why"][0] == "does not stop"
    assert row["w"] > 100  # turns


def test_a_processor_that_hangs_until_its_watchdog_is_counted_apart() -> None:
    row = found(log(END_US, reset=(BEGIN_US, 400_000)), done=FLIP)
    assert (row["w"], row["h"], row["t"]) == (0, 1, None)


def deaf(falls: int = FELL) -> list[dict[str, Any]]:
    """The firmware's turns go on after the fault, but none of their commands comes, until a reset
    60 ms later; by then it has braked by `falls` in each of them."""
    rows = log(BEGIN_US, falls=falls, reset=(BEGIN_US + 60_000, 5_000))
    return [r for r in rows if not BEGIN_US <= r["t_ns"] // 1000 < BEGIN_US + 60_000]


def test_a_flip_in_what_writes_the_commands_lets_the_ramp_go_on_unseen() -> None:
    """By what the limits allow in that time, and no further; without a flip by one turn's step."""
    row = found(deaf(), done=FLIP)
    assert (row["w"], row["h"]) == (0, 1)
    row = found(deaf(2 * FELL), done=FLIP)
    assert row["why"][0].endswith("speed jumps by -0.5599")
    row = found(deaf(), done=[(BEGIN_US, "reset")])
    assert row["why"][1].endswith("speed jumps by -0.2800")


def test_a_reset_that_takes_long_is_no_excuse_for_a_ramp_that_began_late() -> None:
    row = found(log(BEGIN_US + 90_000, reset=(BEGIN_US + 400_000, 60_000)), done=FLIP)
    assert (row["w"] > 0, "h" in row) == (True, False)


def test_a_reset_without_a_flip_has_to_stop_in_time() -> None:
    row = found(log(END_US, reset=(BEGIN_US, 400_000)), done=[(BEGIN_US, "reset")])
    assert (row["w"], "h" in row) == (1, False)


def test_a_second_reset_before_the_stop_begins_it_anew() -> None:
    rows = log(BEGIN_US + 60_000)
    first, again = (BEGIN_US, "reset"), (BEGIN_US + 15_000, "reset")
    assert found(rows, done=[first])["w"] == 1
    assert found(rows, done=[first, again])["t"] == found(rows, done=[again])["t"] <= 45_000
    after = (BEGIN_US + 70_000, "reset")
    assert found(rows, done=[first, after])["w"] == 1


def test_a_processor_that_locked_up_is_counted_and_one_without_a_flip_is_wrong() -> None:
    rows = [row for row in log(END_US) if row["t_ns"] < (BEGIN_US + 30_000) * 1000]
    row = found(rows, done=FLIP, locked=True)
    assert (row["w"], row["h"]) == (0, 1)
    assert found(rows, wrong=["the processor locked up"])["w"] >= 1


STOPS = BEGIN_US + 10_000
LIES = {"evidence_us": BEGIN_US}  # a host that goes on commanding
SAID = {"stops": [(BEGIN_US + 12_000, True)]}


@pytest.mark.parametrize("known", [LIES, SAID])
def test_who_has_to_stop_neither_steers_where_the_host_wants_nor_brakes_harder(
    known: dict[str, Any],
) -> None:
    """Known from what was injected, 50 ms later; or because the microcontroller says so itself."""
    assert found(log(STOPS), STEERED, **known)["w"] == 0
    curve = log(STOPS, turns_us=BEGIN_US - 300_000)  # and is judged only when it stops
    assert found(curve, STEERED, on_us=BEGIN_US - 60_000, **known)["w"] == 0
    assert found(log(STOPS, turns_us=BEGIN_US + 60_000), STEERED)["w"] == 0  # nobody knows
    steered = found(log(STOPS, turns_us=BEGIN_US + 60_000), STEERED, **known)
    assert "steers where nobody asked for it" in steered["why"][0]
    harder = found(log(STOPS, falls=2 * FELL), STEERED, **known)
    assert "stops harder than 4.0 m/s2" in harder["why"][0]


def test_who_says_that_it_stops_goes_on_stopping() -> None:
    heard = told(must=False)
    for at_us, mode in ((0, "SAFE_STOP"), (1, "NOMINAL"), (2, "SAFE_STOP"), (3, "NOMINAL")):
        heard.hear(["c", BEGIN_US + at_us, mode, []])
    assert heard.wrong == ["leaves SAFE_STOP by itself"] * 2
    heard = Told()
    for mode in ("SAFE_STOP", "NOMINAL"):  # it is armed
        heard.hear(["c", 0, mode, []])
    assert heard.wrong == []
    assert heard.stops == [(0, True), (0, False)]


@pytest.mark.parametrize("before", [False, True])
def test_a_turn_that_comes_late_from_the_fault_on_may_be_its_doing(before: bool) -> None:
    """A machine that holds it up does so before it, too."""
    late = (BEGIN_US - 500_000, BEGIN_US + 20_000) if before else (BEGIN_US + 20_000,)
    rows = log(END_US, late_us=lambda at_us: 6_000 if any(0 <= at_us - t < 10_000 for t in late)
               else 0)  # fmt: skip
    with pytest.raises(Disturbed, match="held up for 16 ms") as caught:
        found(rows, must=None)
    assert isinstance(caught.value, Held) is not before


@pytest.mark.parametrize(("must", "text"), [(None, ""), (True, ""), (False, "came 7 ms late")])
def test_a_late_host_matters_where_nothing_must_stop(must: bool | None, text: str) -> None:
    assert told(must, late_us=7_000).disturbance.endswith(text)
    assert bool(told(must, late_us=7_000).disturbance) is bool(text)


def test_the_time_that_a_debugger_took_counts() -> None:
    """Its timer stood still for 8 ms, the vehicle did not: 57 ms are 57."""
    row = found(log(BEGIN_US + 57_000, halt=(BEGIN_US, 8_000)), done=[(BEGIN_US + 500, "flip")])
    assert row["w"] == 1
    assert int(row["why"][0].split()[3]) > 50_000


def test_a_stop_without_a_reason_counts_unless_the_machine_was_late() -> None:
    rows = log(BEGIN_US + 40_000)
    row = found(rows, must=False, said={"LINK_LOST"})
    assert (row["x"], row["w"]) == (1, 0)
    assert found(rows, must=False)["x"] == 0  # it named nothing of the link
    with pytest.raises(Disturbed, match="late before it stopped"):
        found(rows, must=False, said={"LINK_LOST"}, late_us=2500)
