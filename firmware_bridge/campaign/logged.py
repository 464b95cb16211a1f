# SPDX-License-Identifier: Apache-2.0
"""What a vehicle logged while a fault happened to its microcontroller, judged.

The times are real ones, so what the machine did to them is told apart: an attempt in which the
firmware's own timer shows that it did not get its processor is `Disturbed` and made again, and
`Held` where that was only from the fault on.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from firmware_bridge.campaign.case import Fault
from firmware_bridge.campaign.judge import SAFE_US, Judge, Limits
from firmware_bridge.campaign.live import Disturbed, Held
from firmware_bridge.campaign.store import Row
from firmware_bridge.campaign.told import Told

GAP_US = 15_000  # between two turns: more than half a period late, as the firmware itself sees it
WIRE_US = 8_000  # a byte's way to the firmware; only for what counts as fresh, never for the ramp
HEARING_US = 17_000  # from when a frame counts as there until the turn that heard it ends
JITTER_US = 2_000  # of both loops together, where it must not stop
BEFORE_US = 1_000_000  # so long before a fault it must have been in time to be held up by it
TRIPS = {"LINK_LOST", "LINK_FAULTY", "ANSWER_WRONG", "TIME_FAULT"}


class Log(NamedTuple):
    """A command that reached the vehicle."""

    at_us: int
    stamp_us: int
    """The firmware's own time."""
    number: int
    output: tuple[int, int]
    measured: tuple[int, int]


def judged(
    told: Told, rows: Sequence[Mapping[str, Any]], fault: Fault, index: int,
    table: Mapping[str, Any],
) -> Row:  # fmt: skip
    """The result of an injection. rows: the vehicle's log. Raises Disturbed."""
    log = _on_own_clock([_read(row) for row in rows], told.flips)
    judge = Judge(Limits(table), tolerance=6500, hearing_us=HEARING_US)
    _watch(judge, log, told)
    ramp_us = judge.ramp_us(told.begin_us)
    _undisturbed(log, told, ramp_us)
    safe_us, stood, why = _stop(judge, log, told, ramp_us)
    why = [*told.wrong, *why]
    tripped = told.must is False and _tripped(log, told, ramp_us, judge.limits.period_us)
    texts = [f"{(t - told.begin_us) / 1000:.0f} ms: {text}" for t, text in judge.wrong[:3]]
    found: dict[str, Any] = {
        "f": fault.id, "i": index, "k": told.kind,
        "w": len({t for t, _ in judge.wrong}) + len(why), "t": safe_us,
        "c": bool(told.said & told.causes) if told.must and told.causes else None,
        "x": int(tripped),
    }  # fmt: skip
    if stood:
        found["h"] = 1
    if tripped:
        why.append(f"stopped by {', '.join(sorted(told.said & TRIPS))}; {told.late_us} us late")
    return {**found, "why": (why + texts)[:4]} if why or texts else found


def _read(row: Mapping[str, Any]) -> Log:
    return Log(
        row["t_ns"] // 1000, row["stamp_us"], row["count"],
        (row["target_q16"], row["steering_q16"]),
        (round(row["speed"] * 65536), round(row["angle"] * 65536)),
    )  # fmt: skip


def _watch(judge: Judge, log: Sequence[Log], told: Told) -> None:
    """Each command, the frames that were there by then, and whether it had said that it stops."""
    waiting, said, stopping = sorted(told.arrivals), list(told.stops), False
    evidence = told.evident_us(log[-1].at_us) if told.must else None
    if evidence is not None:
        judge.must_stop(evidence)
    for before, row in zip([log[0], *log], log, strict=False):
        while waiting and waiting[0][0] <= row.at_us:
            at_us, number, decided_us, command, engaged = waiting.pop(0)
            judge.arrived(at_us + WIRE_US, number, decided_us + WIRE_US, command, engaged)
        while said and said[0][0] <= row.at_us:
            stopping = said.pop(0)[1]
        judge.on = row.at_us > told.on_us + 100_000
        if boots(before, row):
            judge.cut(_unheard(before, row, told, judge.limits.period_us))
            judge.booted(row.at_us)
        judge.turn(row.at_us, row.output, row.measured, stopping, _ran_us(before, row))


def _stop(
    judge: Judge, log: Sequence[Log], told: Told, ramp_us: int | None
) -> tuple[int | None, bool, list[str]]:
    """The time to the ramp; whether the processor stood until its watchdog; and what is wrong."""
    if told.locked or _hung(log, told, ramp_us):
        return None, True, []
    if not told.must:
        return None, False, []
    if ramp_us is None:
        return None, False, ["does not stop"] if log[-1].output[0] > 0 else []
    evidence = told.evident_us(ramp_us)
    good = [at for at, *_ in told.arrivals if at <= ramp_us]
    since = good[-1] if evidence is None and good else evidence
    if since is None:
        return None, False, []
    safe_us, most_us = max(0, ramp_us - since), judge.limits.safe_us
    if safe_us <= most_us:
        return safe_us, False, []
    late_us = _late_us(log, since, ramp_us, judge.limits.period_us)
    if safe_us - late_us <= most_us:
        raise _held(log, told, f"its loop was {late_us} us late before it stopped")
    return safe_us, False, [f"begins to stop {safe_us} us after the last good frame"]


def _tripped(log: Sequence[Log], told: Told, ramp_us: int | None, period_us: int) -> bool:
    """A stop where there must be none. Raises Disturbed where loops came so late that two lost
    frames are as long as three."""
    if ramp_us is None or not told.said & TRIPS or "NOT_ARMED" in told.said:
        return False
    own_us = _late_us(log, ramp_us - 5 * period_us, ramp_us, period_us)
    late_us = told.late_us + own_us
    if own_us > JITTER_US:
        raise _held(log, told, f"its loop was {own_us} us late before it stopped")
    if late_us > JITTER_US:
        raise Disturbed(f"loops were {late_us} us late before it stopped")
    return True


def boots(before: Log, row: Log) -> bool:
    """Whether there was a reset between the two."""
    return row.number <= before.number and row.stamp_us < before.stamp_us


def _unheard(before: Log, row: Log, told: Told, period_us: int) -> int:
    """Turns before a reset whose commands may not have come: the one that it ended; and after a
    flip, which may hit the code that writes commands, all since the last that came. The ramp went
    on meanwhile, and what comes next may be as far on as the limits let it come in that time."""
    if not any(flip <= row.at_us for flip in told.flips):
        return 1
    return max(1, (row.at_us - before.at_us - row.stamp_us) // period_us)


def _ran_us(before: Log, row: Log) -> int:
    return (row.stamp_us - before.stamp_us) & 0xFFFFFFFF


def _on_own_clock(log: list[Log], halts: Sequence[int]) -> list[Log]:
    """When the firmware wrote each command, on the machine's clock: from its own stamps and the
    shortest way that a command took since it booted, or since a debugger halted it. How long the
    vehicle's process waited for a processor is no delay of the firmware's."""
    starts = [
        i
        for i, (a, b) in enumerate(itertools.pairwise(log), 1)
        if boots(a, b) or any(a.at_us < halt <= b.at_us for halt in halts)
    ]
    timed: list[Log] = []
    for begin, end in itertools.pairwise([0, *starts, len(log)]):
        part = log[begin:end]
        ran_us = [_ran_us(part[0], row) for row in part]
        zero_us = min(row.at_us - ran for row, ran in zip(part, ran_us, strict=True))
        timed += [row._replace(at_us=zero_us + ran) for row, ran in zip(part, ran_us, strict=True)]
    return timed


def _undisturbed(log: Sequence[Log], told: Told, ramp_us: int | None) -> None:
    """By its own timer, from shortly before the fault to the ramp. Raises Disturbed."""
    end_us = (ramp_us or told.begin_us + 500_000) + 20_000
    span = [row for row in log if told.begin_us - 100_000 <= row.at_us <= end_us]
    if len(span) < 2:
        raise Disturbed("the vehicle logged nothing")
    for a, b in itertools.pairwise(span):
        if _gap(a, b):
            raise _held(log, told, f"its loop was held up for {_ran_us(a, b) / 1000:.0f} ms")


def _gap(a: Log, b: Log) -> bool:
    """Whether a turn is missing between the two."""
    lost = (b.number - a.number) & 0xFFFF != 1
    return (_ran_us(a, b) > GAP_US or lost) and not boots(a, b)


def _held(log: Sequence[Log], told: Told, why: str) -> Disturbed:
    """By the machine, or maybe by the fault."""
    before = [row for row in log if told.begin_us - BEFORE_US <= row.at_us <= told.begin_us]
    if any(_gap(a, b) for a, b in itertools.pairwise(before)):
        return Disturbed(why)
    return Held(told.kind, why)


def _late_us(log: Sequence[Log], from_us: int, to_us: int, period_us: int) -> int:
    """By how much its turns came late meanwhile, all in all, by its own timer."""
    return sum(
        max(0, _ran_us(a, b) - period_us)
        for a, b in itertools.pairwise(log)
        if from_us <= b.at_us <= to_us and not boots(a, b)
    )


def _hung(log: Sequence[Log], told: Told, ramp_us: int | None) -> bool:
    """A flip in the middle of a turn may leave the processor in a loop: then its hardware watchdog
    resets it (twice 200 ms in QEMU), and until then the actuators hold the last command."""
    return bool(told.flips) and any(
        boots(a, b) and b.at_us - a.at_us > SAFE_US
        and a.at_us >= told.flips[0] - GAP_US and (ramp_us is None or a.at_us < ramp_us)
        for a, b in itertools.pairwise(log)
    )  # fmt: skip
