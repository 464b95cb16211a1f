# SPDX-License-Identifier: Apache-2.0
"""A square with a picture of its own, made beforehand for all members and all frames (by
`edgeguard.lab.attacks.driving`): it stays in the picture like dirt on the lens, or lies printed on
the road and passes by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from attrs import define

from edgeguard.errors import EdgeguardError
from edgeguard.streams.loops.drive import PERIOD_S
from edgeguard.streams.loops.fault import Fault, Make, Moment
from edgeguard.streams.loops.vehicle import U8

FILE = "patch.npz"
AT = 38, 41
"""Row and column of the one that lies still: just ahead of the car."""
PIXELS_PER_M = 1.56
EVERY = 120  # steps from one printed one to the next, at least: first it has passed by


@define
class Patch:
    """One drive's."""

    picture: U8
    printed: bool
    _row: float = 0.0
    _next: int = 0

    def __call__(self, frame: U8, moment: Moment) -> U8:
        row, column = AT
        rows, columns = self.picture.shape[0], self.picture.shape[1]
        if moment.since < 0:
            return frame
        if self.printed:
            self._row += moment.signals["speed"] * PERIOD_S * PIXELS_PER_M
            if moment.since == 0 or (moment.since >= self._next and self._row + rows > len(frame)):
                self._row, self._next = 0.0, moment.since + EVERY
            row = round(self._row)
        if row + rows > len(frame):
            return frame
        spoilt: U8 = frame.copy()
        spoilt[row : row + rows, column : column + columns] = self.picture
        return spoilt


PATCHES = {"patch": "still", "printed patch": "printed"}
"""By cell: the name of its picture in FILE."""


def patch(cell: str, folder: Path) -> Make:
    """The fault of a cell; folder: of the members that the picture was made for, where it lies.
    The fault raises EdgeguardError where it was not made."""
    name, file = PATCHES[cell], folder / FILE

    def make(seed: int) -> Fault:
        if not file.is_file():
            raise EdgeguardError(f"{file}: is not there; see docs/driving.md on how it is made")
        with np.load(file) as kept:
            return Fault(frame=Patch(np.asarray(kept[name], np.uint8), name == "printed"))

    return make
