# SPDX-License-Identifier: Apache-2.0
"""What a driving loop needs of a vehicle. Units: metres, seconds, radians; y left of x."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
Path = npt.NDArray[np.float64]
"""A closed centre line [N, 2]."""


class Pose(NamedTuple):
    """Where a vehicle is and how it moves."""

    x: float
    y: float
    heading: float
    """Direction of travel, counter-clockwise from the x axis."""
    speed: float


class Command(NamedTuple):
    """What actuators get."""

    steering: float
    """-1 full right to 1 full left."""
    target_speed: float


class Vehicle(Protocol):
    """One that can be driven, and that knows the truth about itself for judging alone."""

    path: Path
    """The map: the centre line of the road."""
    half_width: float

    def frame(self) -> U8:
        """What its camera sees now, RGB [H, W, 3]."""

    def true_pose(self) -> Pose:
        """For judges and for the sensors that spoil it; no controller may read it."""

    def apply(self, command: Command) -> bool:
        """One control period. Returns False when the drive is over."""
