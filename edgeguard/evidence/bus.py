# SPDX-License-Identifier: Apache-2.0
"""Intrusion on a CAN bus: four numbers from its frames, for detectors of kind "bus".

What is normal is learnt from a clean trace, identifier by identifier (``learn``); a ``Monitor``
then gives, for the frames since it was last asked:

- rate: the shortest time that an identifier took until its next frame, against the shortest that
  was learnt: learnt / seen, above 1 where it never came so soon (an identifier that was learnt from
  a single frame has no shortest time: a second one counts as soon as it can). Times are those of
  the bus's clock; two frames of one stamp, or of falling ones, say nothing
- unknown: frames whose identifier or length was not learnt
- payload: how surprising a payload is after the one before it: information, in bits, of the bits
  that changed, by how often each of them changed when learning, less the most that was learnt
- replay: payloads that came again after others had come, of identifiers that never did that

An attacker who knows what was learnt can stay inside it; frames of the vehicle's own units that are
silenced are for the signals' ages to find.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from edgeguard.errors import ConfigError

REMEMBERED: Final = 512  # payloads of an identifier, for replays
FEWEST: Final = 20  # frames of an identifier until its payload and its replays are judged
MOST: Final = 30_000.0  # what a number saturates at: the border takes less than 32767


class Frame(NamedTuple):
    """One frame: seconds, identifier, payload."""

    t_s: float
    id: int
    data: bytes


@dataclass(frozen=True)
class Normal:
    """What was learnt of one identifier. ``bits`` are the information of a change of each bit of
    the longest payload; ``most_bits`` what a whole payload carried at most."""

    frames: int
    lengths: tuple[int, ...]
    shortest_s: float
    bits: tuple[float, ...]
    most_bits: float
    returns: bool


Model = dict[int, Normal]


def learn(frames: Iterable[Frame]) -> Model:
    """Learn from a clean trace in the order of time."""
    traces: dict[int, list[Frame]] = {}
    for frame in frames:
        traces.setdefault(frame.id, []).append(frame)
    return {identifier: _normal(trace) for identifier, trace in traces.items()}


def _normal(trace: list[Frame]) -> Normal:
    pairs = [(trace[i], trace[i + 1]) for i in range(len(trace) - 1)]
    longest = max(len(f.data) for f in trace)
    flips = [0] * (8 * longest)
    for a, b in pairs:
        for bit in _changed(a.data, b.data):
            flips[bit] += 1
    # Laplace's rule: a bit that never changed is surprising, not impossible
    bits = tuple(-math.log2((count + 1) / (len(pairs) + 2)) for count in flips)
    most = max((sum(bits[i] for i in _changed(a.data, b.data)) for a, b in pairs), default=0.0)
    seen = _Payloads()
    returned = [seen.returns(f.data) for f in trace]
    return Normal(
        frames=len(trace),
        lengths=tuple(sorted({len(f.data) for f in trace})),
        # two frames of one stamp say nothing of the time between them
        shortest_s=min((b.t_s - a.t_s for a, b in pairs if b.t_s > a.t_s), default=math.inf),
        bits=bits,
        most_bits=most,
        returns=any(returned) or len(trace) < FEWEST,
    )


def _changed(a: bytes, b: bytes) -> list[int]:
    """The positions of the bits that differ, as far as both payloads reach."""
    length = min(len(a), len(b))
    differ = int.from_bytes(a[:length], "little") ^ int.from_bytes(b[:length], "little")
    found = []
    while differ:
        low = differ & -differ
        found.append(low.bit_length() - 1)
        differ ^= low
    return found


class _Payloads:
    """The last payloads of an identifier."""

    def __init__(self) -> None:
        self._order: deque[bytes] = deque()
        self._count: dict[bytes, int] = {}

    def returns(self, data: bytes) -> bool:
        """Whether this payload was there before, with others in between; remembers it."""
        back = data in self._count and self._order[-1] != data
        self._order.append(data)
        self._count[data] = self._count.get(data, 0) + 1
        if len(self._order) > REMEMBERED:
            old = self._order.popleft()
            self._count[old] -= 1
            if not self._count[old]:
                del self._count[old]
        return back


@dataclass
class _Line:
    """What a monitor keeps of one identifier."""

    last: Frame | None = None
    payloads: _Payloads = field(default_factory=_Payloads)


class Monitor:
    """Reads frames as they come; ``numbers`` says what they were like since it was asked last."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lines: dict[int, _Line] = {}
        self._worst = _nothing()

    def frame(self, frame: Frame) -> None:
        """Take one frame, in the order of time."""
        worst, normal = self._worst, self._model.get(frame.id)
        if normal is None or len(frame.data) not in normal.lengths:
            worst["unknown"] = min(worst["unknown"] + 1.0, MOST)
            return
        line = self._lines.setdefault(frame.id, _Line())
        if line.last is not None:
            seen_s = frame.t_s - line.last.t_s
            if seen_s > 0:  # else the bus's clock was set back, or is too coarse to tell
                worst["rate"] = max(worst["rate"], min(normal.shortest_s / seen_s, MOST))
            if normal.frames >= FEWEST:
                bits = sum(normal.bits[i] for i in _changed(line.last.data, frame.data))
                worst["payload"] = max(worst["payload"], bits - normal.most_bits)
        if line.payloads.returns(frame.data) and not normal.returns:
            worst["replay"] = min(worst["replay"] + 1.0, MOST)
        line.last = frame

    def numbers(self) -> dict[str, float]:
        """By feature, since the last call: for ``Guard.bus``."""
        found, self._worst = self._worst, _nothing()
        return found


def _nothing() -> dict[str, float]:
    return {"rate": 0.0, "unknown": 0.0, "payload": 0.0, "replay": 0.0}


def save(model: Model, path: Path) -> None:
    """Write what was learnt as JSON. Raises OSError."""
    table = {f"{identifier:x}": asdict(normal) for identifier, normal in model.items()}
    path.write_text(json.dumps(table), encoding="utf-8")


def load(path: Path) -> Model:
    """Read what ``save`` wrote. Raises ConfigError."""
    try:
        table: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {int(key, 16): _read(key, entry) for key, entry in table.items()}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path}: is not what was learnt of a bus: {error!r}") from None


def _read(key: str, entry: Mapping[str, Any]) -> Normal:
    normal = Normal(
        frames=int(entry["frames"]),
        lengths=tuple(int(n) for n in entry["lengths"]),
        shortest_s=float(entry["shortest_s"]),
        bits=tuple(float(b) for b in entry["bits"]),
        most_bits=float(entry["most_bits"]),
        returns=bool(entry["returns"]),
    )
    _check(key, normal)
    return normal


def _check(key: str, normal: Normal) -> None:
    """What ``learn`` never says would raise in the monitor, or, as NaN, switch a detector off.

    Raises ValueError.
    """
    if not normal.lengths:
        raise ValueError(f"{key}: lengths: there is none")
    if min(normal.lengths) < 0 or len(normal.bits) != 8 * max(normal.lengths):
        raise ValueError(
            f"{key}: bits: {len(normal.bits)} numbers, for payloads of {list(normal.lengths)} bytes"
        )
    for value in (*normal.bits, normal.most_bits):
        if not 0.0 <= value < math.inf:
            raise ValueError(f"{key}: bits, most_bits: {value} is no information in bits")
    if not normal.shortest_s > 0.0:
        raise ValueError(f"{key}: shortest_s: {normal.shortest_s} is no time between two frames")
