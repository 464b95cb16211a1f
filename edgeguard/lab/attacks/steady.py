# SPDX-License-Identifier: Apache-2.0
"""Signals of a car that does what is commanded and nothing else: constant values, inside their
ranges, at which no association of guard.toml trips.

Where one does, one of its signals is moved to where the relation puts it, or to an end of its
range; whichever leaves fewest broken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from edgeguard.config import GuardConfig
from edgeguard.config.detector_rows import association, operands
from edgeguard.config.fixed import ONE, us_floor
from edgeguard.evidence.associations import residual

Values = dict[str, float]
TICKS = 300  # longer than an association looks back
INSIDE = 0.01  # of a limit


def signals(config: GuardConfig, channel: str, command: float) -> Values:
    """A value for each signal while this is commanded on a channel; of those in its unit, that."""
    unit = config.channels[channel].unit
    found = {
        name: min(max(command if s.unit == unit else 0.0, s.range.low), s.range.high)
        for name, s in config.signals.items()
    }
    commands = {channel: command}
    for _ in config.detectors:
        wrong = broken(config, found, commands)
        if not wrong:
            break
        ways = [found, *_moved(config, wrong[0], found, commands)]
        found = min(ways, key=lambda way: len(broken(config, way, commands)))
    return found


def broken(config: GuardConfig, values: Values, commands: Mapping[str, float]) -> list[str]:
    """The associations of signals and channels that do not hold at constant values."""
    found = []
    for name, detector in config.detectors.items():
        if detector.kind == "association":
            number = _number(config, name, values, commands)
            low, high = _limits(config, name)
            if math.isinf(number) or number < low or number > high:  # NaN: it says nothing
                found.append(name)
    return found


def _number(config: GuardConfig, name: str, values: Values, commands: Mapping[str, float]) -> float:
    """What an association says of constant values; NaN where it says nothing, or is of an operand
    that nobody knows."""
    sides = [
        {"signal": values, "channel": commands}.get(section, {}).get(operand, math.nan)
        for section, operand in operands(config, config.detectors[name])
    ]
    spec = association(config, name, config.detectors[name])
    a, b = np.full(TICKS, sides[0]), np.full(TICKS, sides[-1])
    return float(residual(spec, a, b, us_floor(config.guard.period_ms))[-1])


def _limits(config: GuardConfig, name: str) -> tuple[float, float]:
    detector = config.detectors[name]
    low, high = detector.below, detector.above
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def _moved(
    config: GuardConfig, name: str, values: Values, commands: Mapping[str, float]
) -> Iterator[Values]:
    """The values with one signal of a broken association elsewhere in its range."""
    for section, signal in operands(config, config.detectors[name]):
        if section != "signal":
            continue
        low, high = config.signals[signal].range.low, config.signals[signal].range.high
        at_0, at_1 = (
            _number(config, name, {**values, signal: at}, commands) for at in (0.0, 1.0)
        )  # fmt: skip
        slope = at_1 - at_0
        solved = (_inside(*_limits(config, name)) - at_0) / slope if slope else math.nan
        for spot in (solved, low, high, 0.0, (low + high) / 2):
            if low <= spot <= high:
                yield {**values, signal: spot}


def _inside(low: float, high: float) -> float:
    """A number between limits, nearest 0 where it can be."""
    if math.isinf(low) and math.isinf(high):
        return 0.0
    if math.isinf(low):
        return min(0.0, high - INSIDE * abs(high) - 2 / ONE)
    if math.isinf(high):
        return max(0.0, low + INSIDE * abs(low) + 2 / ONE)
    return (low + high) / 2
