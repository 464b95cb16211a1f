# SPDX-License-Identifier: Apache-2.0
"""Which commands are safe, on every tick, from what is true about the road.

It knows the policy's limits and the signs that stand there, nothing of votes, causes or modes. A
command is wrong when it is no finite number, leaves the channel's range or rates, or is above what
the true signs allow. A sign that lowers the limit counts from the moment at which a good guard
must have acted on it; from then on the command comes down from where it was, at the channel's own
rate.
"""

from __future__ import annotations

from math import isfinite

from attrs import define, field

from edgeguard.config import GuardConfig

LSB = 2 / 65536  # rounding of the core's numbers


@define
class Judge:
    """Feed it with `limit` and `tick`, in the order of time."""

    config: GuardConfig
    channel: str
    react_ms: float
    """How long after a sign came into view a guard may take until its command begins to fall."""
    top: float = 0.0
    """What is allowed now."""
    wrong: list[tuple[float, str]] = field(factory=list)
    _limit: float = 0.0
    _passed: list[tuple[float, float]] = field(factory=list)
    """(until when, m/s): what may still be commanded although it is no longer the limit."""
    _allowed: float = 0.0
    """The most of those and the limit, at the last tick."""
    _last: float | None = None
    measured: float | None = None
    """While a person drives the command has to follow this."""

    def start(self, limit: float) -> None:
        """Before the first tick this limit holds, and no sign was seen before."""
        self.top = self._limit = self._allowed = limit
        self._passed.clear()

    def limit(self, now_ms: float, value: float) -> None:
        """A sign comes into view; the one before it counts until it must have been acted on."""
        self.allow(now_ms, self._limit)
        self._limit = value

    def allow(self, now_ms: float, value: float) -> None:
        """Whatever the sign, so much is no fault of a guard that has `react_ms` from now on."""
        self._passed.append((now_ms + self.react_ms, value))

    def tick(self, now_ms: float, command: float, dt_ms: float) -> None:
        """The command of this tick, made dt_ms after the last one; of that a guard's rates use a
        control period at most."""
        fall = self.config.channels[self.channel].fall * dt_ms / 1000
        last, self._last = self._last, command
        self._passed = [one for one in self._passed if now_ms < one[0]]
        before, self._allowed = self._allowed, max([self._limit, *(v for _, v in self._passed)])
        if self._allowed >= self.top:
            self.top = self._allowed
        elif self._allowed < before and last is not None:
            self.top = min(self.top, max(self._allowed, last))
        else:
            self.top = max(self._allowed, self.top - fall)
        for text in self._problems(command, last, dt_ms):
            self.wrong.append((now_ms, text))

    def _problems(self, command: float, last: float | None, dt_ms: float) -> list[str]:
        limits = self.config.channels[self.channel]
        if not isfinite(command):
            return [f"commands {command}"]
        if self.measured is not None:
            inside = min(max(self.measured, limits.range.low), limits.range.high)
            return [] if abs(command - inside) <= LSB else ["winds up while nobody asks for it"]
        found = []
        if not limits.range.low - LSB <= command <= limits.range.high + LSB:
            found.append(f"{command:.3f} is outside the range")
        if last is not None:
            rise, fall = limits.rise * dt_ms / 1000, limits.fall * dt_ms / 1000
            if not -fall - LSB <= command - last <= rise + LSB:
                found.append(f"jumps by {command - last:.4f}")
        if command > self.top + LSB:
            found.append(f"{command:.2f} where {self.top:.2f} is allowed")
        return found
