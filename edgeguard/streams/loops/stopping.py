# SPDX-License-Identifier: Apache-2.0
"""How fast a car may be at each place of a road, if what may stop it there has no map.

A microcontroller that lost its host keeps the wheels where they were, then straight, and slows down
(`firmware_bridge/mcu/manoeuvre.c`). So the speed has to be one from which that ends on the road.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from attrs import frozen

Array = npt.NDArray[np.float64]
SPEEDS = np.arange(5.0, 40.0, 0.5)  # m/s that are tried; the first is taken to be slow enough


@frozen
class Stop:
    """A stop without a map."""

    braking_mps2: float = 4.0
    held_s: float = 2.0
    """So long the wheels stay where they were, then they are straight."""
    room_m: float = 2.5
    """How far it may lead a car aside. Where the guard takes the wheel the edge is 3 m away, and to
    turn back takes room as well."""
    near_m: float = 8.0
    """Who cuts a bend has the wheels for any place so near ..."""
    astray_per_m: float = 0.02
    """... and off that by so much."""


def fastest(bends: Array, step_m: float, stop: Stop) -> Array:
    """m/s at each point [N] of a closed road, from its curvature there (1/m, positive to the left);
    every lower speed will do as well."""
    found = np.full(len(bends), SPEEDS[0])
    good = np.ones(len(bends), bool)
    near = round(stop.near_m / step_m)
    around = np.stack([np.roll(bends, k) for k in range(-near, near + 1)])
    right, left = around.min(0) - stop.astray_per_m, around.max(0) + stop.astray_per_m
    for speed in SPEEDS:
        for wheels in (right, left):
            good &= _aside(bends, wheels, step_m, stop, speed) <= stop.room_m
        if not good.any():
            break
        found[good] = speed
    return found


def _aside(bends: Array, wheels: Array, step_m: float, stop: Stop, speed: float) -> Array:
    """m aside at most, on the way to standstill from each point [N], with the wheels [N] in 1/m."""
    gone_m = np.arange(0.0, speed**2 / (2 * stop.braking_mps2), step_m)
    took_s = (speed - np.sqrt(speed**2 - 2 * stop.braking_mps2 * gone_m)) / stop.braking_mps2
    road = bends[(np.arange(len(bends))[:, None] + np.arange(len(gone_m))) % len(bends)]
    held = np.where(took_s <= stop.held_s, wheels[:, None], 0.0)
    turned = np.cumsum(held - road, axis=1) * step_m
    return np.asarray(np.abs(np.cumsum(np.sin(turned), axis=1) * step_m).max(axis=1))
