# SPDX-License-Identifier: Apache-2.0
"""Which commands at the actuator are safe, on every turn of the microcontroller.

It knows nothing of the firmware: only the table that was promised, what a good host decided, and
which of these frames reached the microcontroller whole, in order and in time. A command is wrong
when it leaves the table's range or rates; when it rises, or steers, without a fresh command that
asked for it; when it does not come down although no fresh command holds it up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from attrs import define

SAFE_US = 50_000  # from the last good frame to the start of the ramp
QUIET_US = 40_000  # the link's limit (link.h, 36 ms), 2 ms on the wire and 2 ms of the turn itself
STOP_RATE = 4 * 65536  # Q16.16 m/s per second, UN R157
PATH_US = 2_000_000  # how long a stop keeps to the path
ROOM_US = 50_000  # around PATH_US: since when the path is old is a matter of 50 ms
LSB = 3  # rounding, Q16.16
NONE = 255
Measured = tuple[int | None, int | None]
"""Speed and steering, Q16.16; None: the sensor failed."""


def safe_us(period_us: int) -> int:
    """From the last good frame to the start of the ramp, at most. A lost link shows in the first
    turn after its time limit: with a period above 10 ms that is later than 50 ms."""
    return max(SAFE_US, QUIET_US + period_us)


@define
class Limit:
    """Of one channel at one moment: range, and what one step may change."""

    low: int
    high: int
    rise: int
    fall: int


class Limits:
    """The table's limits, worked out apart from the firmware."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._rows = [c["rows"] for c in table["policy"]["channels"]]
        self._signal = [c["table_signal"] for c in table["policy"]["channels"]]
        self.period_us = int(table["link"]["period_us"])
        self.safe_us = safe_us(self.period_us)
        self.max_age_us = int(table["link"]["max_age_us"])
        self.channels = len(self._rows)
        self._known: list[tuple[int | None, Limit] | None] = [None] * self.channels

    def at(self, channel: int, measured: Measured) -> Limit:
        """Linear between the rows of the table; the strictest of all where nobody measures."""
        signal = self._signal[channel]
        x = 0 if signal == NONE else measured[signal]
        known = self._known[channel]
        if known is None or known[0] != x:
            self._known[channel] = known = x, self._between(self._rows[channel], x)
        return known[1]

    def _between(self, rows: list[dict[str, int]], x: int | None) -> Limit:
        names = ("min", "max", "rise", "fall")
        if x is None:
            strict = (max(r["min"] for r in rows), *(min(r[n] for r in rows) for n in names[1:]))
            return self._limit(*strict)
        below = [row for row in rows if row["at"] <= x] or rows[:1]
        a = below[-1]
        b = rows[min(len(below), len(rows) - 1)]
        part = (x - a["at"]) / (b["at"] - a["at"]) if b["at"] > a["at"] and x > a["at"] else 0.0
        return self._limit(*(round(a[n] + (b[n] - a[n]) * part) for n in names))

    def _limit(self, low: int, high: int, rise: int, fall: int) -> Limit:
        share = self.period_us / 1e6
        return Limit(low, high, int(rise * share), int(fall * share))


class Turn(NamedTuple):
    """What the actuators got, Q16.16."""

    at_us: int
    speed: int
    steering: int
    brakes: int
    """What of the speed a stop takes away in this turn."""


@define
class Fresh:
    """A command that reached the microcontroller as it should."""

    at_us: int
    command: tuple[int, ...]


class Judge:
    """Feed it with `arrived` and `turn`, in the order of time."""

    def __init__(self, limits: Limits, tolerance: int = LSB, hearing_us: int = 0) -> None:
        """tolerance: of what is compared with measured values, Q16.16; more than rounding where
        these were logged at another moment. hearing_us: for so long after the host said that
        a person drives, or no longer, the firmware may not have heard it."""
        self.limits = limits
        self._tolerance, self._hearing_us = tolerance, hearing_us
        self.on = False
        """Whether commands are judged; not before it is armed."""
        self.wrong: list[tuple[int, str]] = []
        """Turns with a wrong command, and what was wrong."""
        self.trace: list[Turn] = []
        self.good: deque[Fresh] = deque(maxlen=128)  # five turns of a host that babbles
        self.arrivals: list[int] = []
        """When good commands came."""
        self._newest = 0
        self._engaged = True
        self._said_us: int | None = None  # when that changed
        self._stop_us: int | None = None
        self._path_us = 0
        self._angles: list[int] = []
        self._angle: int | None = None
        self._boots = 0
        self._booted_us = 0
        self._cut = 0
        self._path = self._wished = 0
        self._last: tuple[int, int] | None = None

    def arrived(
        self, at_us: int, number: int, decided_us: int, command: tuple[int, ...], engaged: bool
    ) -> None:
        """A frame of a good host is there, whole. It counts when it is new and young enough."""
        if number <= self._newest or at_us - decided_us > self.limits.max_age_us:
            return
        self._newest = number
        if engaged != self._engaged:
            self._engaged, self._said_us = engaged, at_us
        self.good.append(Fresh(at_us, command))
        self.arrivals.append(at_us)

    def must_stop(self, evidence_us: int) -> None:
        """From `safe_us` after this on nothing that the host says may hold the command up."""
        if self._stop_us is None:
            self._stop_us = evidence_us + self.limits.safe_us

    def booted(self, at_us: int) -> None:
        """It was reset: it may steer to the angle that it measures then, between those logged
        before and after, and its first turn is as short as the time since."""
        self._boots, self._booted_us = 2, at_us
        self._angles += [] if self._angle is None else [self._angle]

    def cut(self, turns: int = 1) -> None:
        """A reset ended this turn, before it gave a command or before it could note that it had:
        the next one goes on from what was decided by then, so it may be a period's step further
        off, either way. turns: so many whose commands did not reach the actuator."""
        self._cut += turns

    def begin(self) -> None:
        """A new session: what stood in the way is gone."""
        self._stop_us = None
        self._angles.clear()
        self.good.clear()

    def _stopping(self, t_us: int) -> bool:
        """Whether it must be stopping by now."""
        fresh = bool(self.good) and t_us - self.good[-1].at_us <= self.limits.safe_us
        return not fresh or (self._stop_us is not None and t_us > self._stop_us)

    def turn(
        self,
        t_us: int,
        output: tuple[int, int],
        measured: Measured,
        stopping: bool,
        elapsed_us: int | None = None,
    ) -> None:
        """What the actuators got. stopping: it says so itself, and is held to it. elapsed_us: since
        its last turn, by its own clock; None: a period."""
        last, self._last = self._last, output
        brakes = self._brakes(t_us, elapsed_us)
        self.trace.append(Turn(t_us, *output, brakes))
        if self._boots > 0:
            self._boots -= 1
            self._path_us = t_us
            self._angles += [] if measured[1] is None else [measured[1]]
        self._angle = measured[1]
        periods, self._cut = 1 + self._cut, 0
        if not self.on or last is None:
            self._follows(t_us, output)
            return
        stops = stopping or self._stopping(t_us)
        active = self._active(t_us, last, output, measured, stops, brakes, periods)
        bad = active if self._engaged else self._inactive(output, measured)
        heard = self._said_us is None or t_us - self._said_us >= self._hearing_us
        if bad and not heard:
            bad = self._inactive(output, measured) if self._engaged else active
        if not (self._engaged and stops):
            self._follows(t_us, output)
        self.wrong += [(t_us, text) for text in bad]

    def _follows(self, t_us: int, output: tuple[int, int]) -> None:
        """It steers as it is told: a stop from here on keeps to this path."""
        self._path_us, self._path = t_us, output[1]
        steers = self.good and self.limits.channels > 1
        self._wished = self.good[-1].command[1] if steers else output[1]

    def _active(
        self,
        t_us: int,
        last: tuple[int, int],
        output: tuple[int, int],
        measured: Measured,
        stops: bool,
        brakes: int,
        periods: int,
    ) -> list[str]:
        fresh = [] if stops else [g for g in self.good if t_us - g.at_us <= self.limits.safe_us]
        bad = [
            *self._range(0, last[0], output[0], measured, periods),
            *self._speed(last[0], output[0], fresh, measured, brakes, periods),
        ]
        if self.limits.channels > 1:
            bad += self._range(1, last[1], output[1], measured, periods)
            bad += self._steering(t_us, last[1], output[1], fresh, measured, periods)
        return bad

    def _brakes(self, t_us: int, elapsed_us: int | None) -> int:
        period_us = self.limits.period_us
        step_us = period_us if elapsed_us is None else min(period_us, elapsed_us)
        if self._boots == 2:
            step_us = min(step_us, t_us - self._booted_us)
        return STOP_RATE * step_us // 10**6

    def _inactive(self, output: tuple[int, int], measured: Measured) -> list[str]:
        pairs = zip(output, measured, range(self.limits.channels), strict=False)
        return [
            f"channel {channel} winds up while inactive"
            for out, found, channel in pairs
            if found is not None and abs(out - found) > self._tolerance
        ]

    def _range(
        self, channel: int, last: int, now: int, measured: Measured, periods: int
    ) -> list[str]:
        limit = self.limits.at(channel, measured)
        change = now - last
        name = ("speed", "steering")[channel]
        if not -(limit.fall + LSB) * periods <= change <= (limit.rise + LSB) * periods:
            return [f"{name} jumps by {change / 65536:.4f}"]
        if now > limit.high + self._tolerance and change > -limit.fall + LSB:
            return [f"{name} above its range"]
        if now < limit.low - self._tolerance and change < limit.rise - LSB:
            return [f"{name} below its range"]
        return []

    def _speed(
        self,
        last: int,
        now: int,
        fresh: list[Fresh],
        measured: Measured,
        brakes: int,
        periods: int,
    ) -> list[str]:
        asked = max((g.command[0] for g in fresh), default=0)
        if now > last and now > asked + LSB:
            return ["speed rises and nobody asked for it"]
        limit = self.limits.at(0, measured)
        step = min(limit.fall, brakes) - limit.rise * (periods - 1)
        if now > max(asked, last - step) + LSB:
            return ["speed is held up and nobody asked for it"]
        most = (STOP_RATE * self.limits.period_us // 10**6 + LSB) * periods
        if not fresh and now < last - most:
            return ["stops harder than 4.0 m/s2"]
        return []

    def _steering(
        self,
        t_us: int,
        last: int,
        now: int,
        fresh: list[Fresh],
        measured: Measured,
        periods: int,
    ) -> list[str]:
        limit = self.limits.at(1, measured)
        inside = max(limit.low, min(limit.high, last))
        goals = [last, inside, *self._angles, *(g.command[1] for g in fresh)]
        goals += [] if fresh else [self._path, self._wished]  # limits in its way may widen
        old_us = t_us - self._path_us
        if not fresh and old_us > PATH_US - ROOM_US:
            goals.append(0)
        room = max(limit.rise, limit.fall) * (periods - 1) + LSB
        if not min(goals) - room <= now <= max(goals) + room:
            return ["steers where nobody asked for it"]
        late = not fresh and old_us > PATH_US + 2 * ROOM_US
        if late and abs(now) > max(0, abs(last) - limit.fall) + LSB:
            return ["keeps to a path that is too old"]
        return []

    def ramp_us(self, from_us: int) -> int | None:
        """When the ramp to a stop began that lasts until now; None: there is none.

        Before from_us nothing is looked at."""
        began = None
        for before, now in zip(self.trace[-2::-1], self.trace[:0:-1], strict=False):
            held = now.speed > before.speed - now.brakes + LSB
            if now.at_us < from_us or (now.speed > 0 and held):
                break
            began = now.at_us if now.speed < before.speed else began
        return began
