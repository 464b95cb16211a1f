# SPDX-License-Identifier: Apache-2.0
"""What a caller gives, read once as the border takes it: a number, a mapping or a stamp of his own
may do anything."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

MAX_NS = 2**62  # 146 years; leaves room for a latency on top
Q16_LIMIT = 32767.0


def as_stamp(t_ns: Any, name: str = "t_ns") -> int:
    """A stamp that is no plain int; raises ValueError when it is none at all."""
    try:
        t_ns = operator.index(t_ns)
    except TypeError:
        raise ValueError(f"{name}: want whole nanoseconds, got {t_ns!r}") from None
    if abs(t_ns) > MAX_NS:
        raise ValueError(f"{name}: {t_ns} is no stamp of a monotonic clock in nanoseconds")
    return int(t_ns)


def as_dict(signals: object) -> dict[str, Any]:
    """The signals as the border reads them, by plain texts: a name of the caller's own may do
    anything when it is compared. What is no mapping has none."""
    try:
        given = dict(signals) if isinstance(signals, Mapping) else {}
        return {str.__str__(n): value for n, value in given.items() if issubclass(type(n), str)}
    except KeyboardInterrupt:
        raise
    except BaseException:  # and so may a mapping
        return {}


def finite(value: object) -> bool:
    """Whether the border would take it: a number, finite, within Q16.16."""
    return math.isfinite(real(value, math.nan))


def real(value: object, otherwise: float) -> float:
    """The number that the border would take, read once: a number of the caller's own may do
    anything."""
    try:
        number = math.ldexp(value, 0)  # type: ignore[arg-type]  # itself; float() takes texts
    except KeyboardInterrupt:
        raise
    except BaseException:
        return otherwise
    return number if abs(number) < Q16_LIMIT else otherwise


class Reader:
    """What a decision is given: all of it for the core, which judges it, and for the rules only
    what the core will find valid. A rule that follows a signal must not drive towards a number
    that nobody believes; without one it is lost, which has a cause and a stop."""

    def __init__(
        self, valid: Callable[[dict[str, Any]], dict[str, Any]], to_prove: Iterable[str]
    ) -> None:
        """valid: the core's; to_prove: signals that count only when they are authenticated."""
        self._valid, self._to_prove = valid, tuple(to_prove)

    def __call__(
        self, signals: object, authenticated: object = None
    ) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """For the core, and for the rules, who share one view that nobody can write to."""
        given = signals if type(signals) is dict else as_dict(signals)
        try:
            return self._read(given, authenticated)
        except KeyboardInterrupt:
            raise
        except BaseException:  # names of the caller's own, which plain ones are not
            return self._read(as_dict(given), authenticated)

    def _read(
        self, given: dict[str, Any], authenticated: object
    ) -> tuple[dict[str, Any], Mapping[str, Any]]:
        if self._to_prove or authenticated is not None:
            given = given.copy()
            for name in self._to_prove:
                given.pop(name, None)
            given.update(as_dict(authenticated))
        return given, MappingProxyType(self._valid(given))
