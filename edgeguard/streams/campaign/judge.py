# SPDX-License-Identifier: Apache-2.0
"""Which commands are safe, on every tick, from what is true about the road.

It knows the policy's limits and the signs that stand there, nothing of votes, causes or modes. A
command is wrong when it is no finite number, leaves the channel's range or rates, or is above what
the true signs allow. A sign that lowers the limit counts from the moment at which a good guard
must have acted on it; from then on the limit comes down at the channel's own rate.
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
    _due_ms: float = 0.0
    _last: float | None = None
    measured: float | None = None
    """While a person drives the command has to follow this."""

    def start(self, limit: float) -> None:
        """Before the first tick this limit holds."""
        self.top = self._limit = limit

    def limit(self, now_ms: float, value: float) -> None:
        """A sign comes into view."""
        if value < self._limit:
            self._due_ms = now_ms + self.react_ms
        self._limit = value

    def tick(self, now_ms: float, command: float, dt_ms: float) -> None:
        """The command of this tick."""
        limits = self.config.channels[self.channel]
        last, self._last = self._last, command
        if self._limit >= self.top:
            self.top = self._limit
        elif now_ms >= self._due_ms:
            self.top = max(self._limit, self.top - limits.fall * dt_ms / 1000)
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
