# SPDX-License-Identifier: Apache-2.0
"""What a member was shown and said lately: three whole numbers, larger is stranger.

- ``changes``: how often its answer changed in the last second. Along a track a sign stays what it
  is; an attack that is made frame by frame, or a sticker, is often read as one thing now and as
  another a moment later.
- ``echoes``: how many of the last `memory` pictures look like this one. Whoever searches for an
  adversarial picture by asking (Chen, Carlini, Wagner 2019, "Stateful detection of black-box
  adversarial attacks") asks thousands of nearly the same. A sketch is the sums of 4 x 4 pixels; two
  look alike when their sketches differ by at most `near` grey levels in the mean, and by no more
  than a quarter of the picture's own contrast: at night all signs are dark, and yet not one sign.
- ``flips``: how often among the last `memory` pictures one came that looks like an earlier one and
  was given another label than the one most like it. A sign that stays does not change its meaning;
  a search along a decision boundary crosses it at every other question.

Numpy only, whole numbers only: the same inputs give the same numbers everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Sketch = npt.NDArray[np.int16]  # CELL * CELL * 255 fits

WINDOW_NS: Final = 1_000_000_000  # of changes
MOST_CHANGES: Final = 4096  # more of them are as strange
CELL: Final = 4  # pixels across that a sketch adds up
CONTRAST: Final = 4  # alike is at most this part of a picture's mean absolute deviation


class Changes:
    """Counts changes of an answer; the first one is a change from nothing."""

    def __init__(self) -> None:
        self._label: int | None = None
        self._at_ns = deque[int](maxlen=MOST_CHANGES)

    def said(self, label: int, t_ns: int) -> int:
        """Of an answer to what was captured at ``t_ns``: changes in the second up to it. What was
        said of a later capture counts on: an answer out of its order takes nothing away."""
        if label != self._label:
            self._label = label
            self._at_ns.append(t_ns)
        while self._at_ns and t_ns - self._at_ns[0] >= WINDOW_NS:
            self._at_ns.popleft()
        return len(self._at_ns)

    def begin_at(self, now_ns: int) -> None:
        """The clock ran back: what changed in its future changed now. So the number stays for one
        more window; emptied, it would be the way to switch it off, and left, it would stay up for
        as long as the clock ran back."""
        self._at_ns = deque((min(at, now_ns) for at in self._at_ns), maxlen=MOST_CHANGES)


def changes_along(labels: Ints, tracks: Sequence[slice], rate_hz: float) -> Ints:
    """``Changes`` of labels [N], frame by frame, each track after something else."""
    found = np.empty(len(labels), np.int64)
    for track in tracks:
        count = Changes()
        for i in range(track.start, track.stop):
            found[i] = count.said(int(labels[i]), round((i - track.start) * 1e9 / rate_hz))
    return found


class Numbers(NamedTuple):
    """What History says of one input."""

    echoes: int
    flips: int


class Glance(NamedTuple):
    """A picture against those before it: its sketch, how many look like it, and what the one most
    like it was called, None where there is none."""

    sketch: Sketch
    echoes: int
    was: int | None


def sketch(picture: U8) -> Sketch:
    """Sums of cells, flat; picture uint8 [H, W, C], sides that are multiples of CELL."""
    height, width, channels = picture.shape
    cells = picture.reshape(height // CELL, CELL, width // CELL, CELL, channels)
    return np.asarray(cells.sum((1, 3), dtype=np.int16).ravel())


@dataclass
class History:
    """Feed it every input and the label it got, frame by frame. near: grey levels."""

    near: float = 6.0
    memory: int = 512
    _sketches: Sketch = field(init=False, repr=False)
    _labels: Ints = field(init=False, repr=False)
    _flips: deque[bool] = field(init=False, repr=False)
    _seen: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._labels = np.zeros(self.memory, np.int64)
        self._flips = deque(maxlen=self.memory)

    def see(self, picture: U8, label: int) -> Numbers:
        """picture uint8 [H, W, C] as the member sees it (the crop, at its size)."""
        return self.note(self.look(picture), label)

    def look(self, picture: U8) -> Glance:
        """Compare with what was noted before: a small part of a millisecond."""
        own = sketch(picture)
        if self._seen == 0:
            self._sketches = np.zeros((self.memory, len(own)), np.int16)
        held = min(self._seen, self.memory)
        apart = np.abs(self._sketches[:held] - own).sum(1, dtype=np.int32)
        contrast = int(np.abs(own - int(own.mean())).sum())
        alike = apart <= min(int(self.near * CELL * CELL * len(own)), contrast // CONTRAST)
        echoes = int(alike.sum())
        return Glance(own, echoes, int(self._labels[int(apart.argmin())]) if echoes else None)

    def note(self, glance: Glance, label: int) -> Numbers:
        """Remember a picture with the label that it got."""
        self._flips.append(glance.was is not None and glance.was != label)
        at = self._seen % self.memory
        self._sketches[at], self._labels[at] = glance.sketch, label
        self._seen += 1
        return Numbers(glance.echoes, sum(self._flips))
