# SPDX-License-Identifier: Apache-2.0
"""What a caller gives, read once as the border takes it: a number, a mapping or a stamp of his own
may do anything."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
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
    """The signals as the border reads them; what is no mapping has none."""
    try:
        return dict(signals) if isinstance(signals, Mapping) else {}
    except Exception:  # a mapping of the caller's own may do anything
        return {}


def finite(value: object) -> bool:
    """Whether the border would take it: a number, finite, within Q16.16."""
    return math.isfinite(real(value, math.nan))


def real(value: object, otherwise: float) -> float:
    """The number that the border would take, read once: a number of the caller's own may do
    anything."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except Exception:
        return otherwise
    return number if abs(number) < Q16_LIMIT else otherwise
