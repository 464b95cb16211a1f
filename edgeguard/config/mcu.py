# SPDX-License-Identifier: Apache-2.0
"""The microcontroller's own table, made from guard.toml: fewer words, and it trusts nobody.

It owns a speed target in m/s and, where there is one, a steering angle in rad. Its members are the
host's channels, its rules are the minimum-risk manoeuvre, and what its link says of itself stops
the vehicle until a person agrees to go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from edgeguard.config import fixed, policy, schema
from edgeguard.config import vocabulary as words
from edgeguard.config.lines import KeyPath
from edgeguard.config.schema import GuardConfig
from edgeguard.errors import ConfigError

# Limits of the link (native/core/include/edgeguard/link.h).
LINK_TIMEOUT_MS = 36.0
ROUND_TRIP_MS = 20.0
PERIODS_MS = (5.0, 17.0)  # a command may be lost: two periods are within the time limit
STANDSTILL = 0.1  # m/s, where [rearm] says nothing about this signal
CLASSIC_CAN = (
    'is "can": a classic CAN frame holds 8 bytes and the E2E header alone takes 12;'
    ' use "can-fd" or "serial"'
)

_UNITS = {"speed": "m/s", "steering": "rad"}
_STOPS = "SAFE_STOP", "rearm"  # severity and what clears it
_ROWS: dict[str, tuple[str, str, float]] = {  # and the ms that it is present before it acts
    "NOT_ARMED": (*_STOPS, 0),
    "TIME_FAULT": (*_STOPS, 0),
    "CONTROLLER_LOST": (*_STOPS, 0),
    "INPUT_INVALID": (*_STOPS, 50),
    "LINK_LOST": (*_STOPS, 0),
    "LINK_FAULTY": (*_STOPS, 0),
    "ANSWER_WRONG": (*_STOPS, 0),
    "PEER_STOPPED": (*_STOPS, 0),
    "SELF_TEST": (*_STOPS, 0),
    "LATE": ("NOMINAL", "itself", 0),  # a late command is not used
    "MEMBER_LOST": ("NOMINAL", "itself", 0),  # whether one is missed says STALE_MODEL
    "OPERATION_DENIED": ("NOMINAL", "itself", 0),
    "ENVELOPE_CONFLICT": ("DEGRADED", "itself", 0),
    "OVERRUN": ("DEGRADED", "itself", 100),
}
_OTHERWISE = "FALLBACK", "itself", 0.0  # its rules command, which is to stop


@frozen
class Roles:
    """What the microcontroller owns, by name in guard.toml; no steering: a vehicle on rails."""

    speed: str
    speed_signal: str
    steering: str | None = None
    steering_signal: str | None = None
    """None: the host does not know the angle; the microcontroller measures it all the same."""

    @property
    def channels(self) -> tuple[str, ...]:
        """In the order of the microcontroller's channels."""
        return (self.speed,) if self.steering is None else (self.speed, self.steering)

    @property
    def signals(self) -> dict[str, int]:
        """What it measures and the host knows by a name, with the place among its signals."""
        named = (self.speed_signal, self.steering_signal)
        return {name: i for i, name in enumerate(named) if name is not None}


class _Unfit(Exception):
    """A key of [mcu] and what is wrong with it."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(key, problem)
        self.key, self.problem = key, problem


@frozen
class Parts:
    """What of a guard.toml the microcontroller's table is made from."""

    guard: schema.Guard
    mcu: schema.Mcu
    channels: Mapping[str, schema.Channel]
    signals: Mapping[str, schema.Signal]
    rearm: schema.Rearm | None

    def problems(self) -> Iterator[tuple[KeyPath, str]]:
        """What keeps a microcontroller from running this; key path, and what to do."""
        if self.mcu.link == "can":
            yield ("mcu", "link"), CLASSIC_CAN
        period, (low, high) = self.guard.period_ms, PERIODS_MS
        if not low <= period <= high:
            yield (
                ("guard", "period_ms"),
                f"is {period:g}; with a microcontroller it must be {low:g} to {high:g} ms:"
                f" its link counts as lost after {LINK_TIMEOUT_MS:g} ms",
            )
        age, most = self.mcu.max_command_age_ms, self.most_age_ms
        if age is not None and not period <= age <= most:
            yield (
                ("mcu", "max_command_age_ms"),
                f"is {age:g}; must be {period:g} (a period) to {most:g} ms (2 periods, or the"
                " longest round trip)",
            )
        try:
            roles = self.roles()
        except _Unfit as wrong:
            yield ("mcu", wrong.key), wrong.problem
        else:
            yield from self._tables(roles)
            yield from self._tags(roles)

    @property
    def most_age_ms(self) -> float:
        """The oldest command that may still be used."""
        return max(2 * self.guard.period_ms, ROUND_TRIP_MS)

    def roles(self) -> Roles:
        """Who is speed and who is steering. Raises _Unfit."""
        speed = self._channel("speed", self.mcu.speed)
        if speed is None:
            raise _Unfit("speed", "no channel is in m/s; a microcontroller needs a speed target")
        speed_signal = self._signal("speed", self.mcu.speed_signal, speed)
        if speed_signal is None:
            raise _Unfit("speed_signal", "no signal is in m/s; without it nobody knows standstill")
        steering = self._channel("steering", self.mcu.steering)
        if steering is None:
            return Roles(speed, speed_signal)
        angle = self._signal("steering", self.mcu.steering_signal, steering)
        return Roles(speed, speed_signal, steering, angle)

    def _channel(self, role: str, given: str | None) -> str | None:
        unit = _UNITS[role]
        if given is None:
            return next((n for n, c in self.channels.items() if c.unit == unit), None)
        if given not in self.channels:
            raise _Unfit(role, f"there is no [channel.{given}]; known: {', '.join(self.channels)}")
        found = self.channels[given].unit
        if found != unit:
            raise _Unfit(role, f"[channel.{given}] is in {found}; must be in {unit}")
        return given

    def _signal(self, role: str, given: str | None, channel: str) -> str | None:
        unit, key = _UNITS[role], f"{role}_signal"
        if given is None:
            known = [self.channels[channel].measured]
            if role == "speed":  # an angle could be anybody's: a compass, an arm
                known += [self.rearm.standstill_signal if self.rearm else None, *self.signals]
            return next((n for n in known if n and self._unit(n) == unit), None)
        if given not in self.signals:
            raise _Unfit(key, f"there is no [signal.{given}]; known: {', '.join(self.signals)}")
        if self._unit(given) != unit:
            raise _Unfit(key, f"[signal.{given}] is in {self._unit(given)}; must be in {unit}")
        return given

    def _unit(self, signal: str) -> str | None:
        return self.signals[signal].unit if signal in self.signals else None

    def _tags(self, roles: Roles) -> Iterator[tuple[KeyPath, str]]:
        for name in roles.signals:
            if self.signals[name].authenticated and not self.mcu.authenticated:
                yield (
                    ("signal", name, "authenticated"),
                    "is measured by the microcontroller, whose frames carry no tag"
                    " (mcu.authenticated = false); it would never be there",
                )

    def _tables(self, roles: Roles) -> Iterator[tuple[KeyPath, str]]:
        for name in roles.channels:
            signal = self.channels[name].table_signal
            if signal is not None and signal not in roles.signals:
                yield (
                    ("channel", name, "table_signal"),
                    f'is "{signal}", which the microcontroller does not measure;'
                    f" it measures {', '.join(roles.signals)}",
                )


def _parts(cfg: GuardConfig) -> Parts:
    return Parts(cfg.guard, cfg.mcu or schema.Mcu(), cfg.channels, cfg.signals, cfg.rearm)


def roles(cfg: GuardConfig) -> Roles:
    """What the microcontroller owns; `mcu_dict` raises ConfigError where that cannot be said."""
    return _parts(cfg).roles()


def mcu_dict(cfg: GuardConfig) -> dict[str, Any]:
    """The integers of the microcontroller's table and of its link, for `firmware_bridge.table`.

    [mcu] may be missing: the first channel in m/s is the speed target, the first in rad the
    steering. Raises ConfigError.
    """
    parts = _parts(cfg)
    wrong = [f"{cfg.source}: {'.'.join(map(str, at))}: {text}" for at, text in parts.problems()]
    if wrong:
        raise ConfigError("\n".join(wrong))
    period_us = fixed.us_floor(cfg.guard.period_ms)
    age_ms = parts.mcu.max_command_age_ms or parts.most_age_ms
    found = parts.roles()
    return {
        "policy": _policy(parts, found, period_us, fixed.us_floor(age_ms)),
        "link": {
            "authenticated": int(parts.mcu.authenticated),
            "period_us": period_us,
            "max_age_us": fixed.us_floor(age_ms),
        },
        "host_channel": [list(cfg.channels).index(name) for name in found.channels],
    }


def _policy(parts: Parts, found: Roles, period_us: int, max_age_us: int) -> dict[str, Any]:
    return {
        "period_us": period_us,
        "max_gap_us": 10 * period_us,
        "controller_budget_us": period_us,
        "standstill_signal": 0,
        "standstill_below": fixed.q16_floor(_standstill(parts, found)),
        "causes": [_cause(name) for name in words.CAUSES],
        "cameras": [],
        "signals": [policy.range_q16(limits) for limits in _measures(parts, found)],
        "members": [_member(i, max_age_us) for i in range(len(found.channels))],
        "channels": [_channel(parts.channels[n], found, i) for i, n in enumerate(found.channels)],
        "labels": [],
        "detectors": [],
    }


def _measures(parts: Parts, found: Roles) -> Iterator[schema.Range]:
    yield parts.signals[found.speed_signal].range
    if found.steering is not None:
        angle = found.steering_signal
        source = parts.channels[found.steering] if angle is None else parts.signals[angle]
        yield source.range


def _standstill(parts: Parts, found: Roles) -> float:
    rearm = parts.rearm
    known = rearm is not None and rearm.standstill_signal == found.speed_signal
    return rearm.standstill_below if known and rearm else STANDSTILL


def _cause(name: str) -> dict[str, int]:
    severity, clears, on_ms = _ROWS.get(name, _OTHERWISE)
    return {
        "severity": words.SEVERITIES.index(severity),
        "clears": words.CLEARS.index(clears),
        "asks_operator": int(severity == "SAFE_STOP"),
        "on_us": fixed.us_floor(on_ms),
        "off_us": fixed.us_ceil(on_ms),
    }


def _member(channel: int, max_age_us: int) -> dict[str, int]:
    """What the host says on one channel; it may move that one alone."""
    return {
        "kind": words.CHANNEL_KINDS.index("value"),
        "modes": (1 << len(words.SEVERITIES)) - 1,
        "may": 3 << 2 * channel,
        "deadline_us": max(max_age_us, fixed.us_floor(ROUND_TRIP_MS)),  # what the link accepts
        "max_age_us": fixed.us_floor(LINK_TIMEOUT_MS),
        "max_rail": fixed.MOST,
        "min_distinct": 0,
        "sum_min": fixed.LEAST,
        "sum_max": fixed.MOST,
    }


def _channel(channel: schema.Channel, found: Roles, index: int) -> dict[str, Any]:
    limits = policy.rows(channel, degraded=False)
    trusted = {"certainty": fixed.ONE, "quorum": 1, "frames": 1}
    table = channel.table_signal
    return {
        "kind": words.CHANNEL_KINDS.index("value"),
        "measured": index,
        "table_signal": words.NO_SIGNAL if table is None else found.signals[table],
        "manoeuvre": 1,
        "stop": policy.inside_q16(channel.stop, channel.range),
        "dispersion": 0,
        "raise": trusted,
        "lower": trusted,
        "rows": limits,
        "degraded_rows": limits,
    }
