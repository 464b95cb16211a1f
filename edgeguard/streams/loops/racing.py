# SPDX-License-Identifier: Apache-2.0
"""CarRacing-v3 as a vehicle: 50 Hz, a camera from above, tyres that let go. Needs `drive`."""

from __future__ import annotations

import importlib
from math import hypot, pi
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.streams.loops.drawing import Drawing
from edgeguard.streams.loops.vehicle import U8, Command, Path, Pose

PERIOD_MS = 20.0
HALF_WIDTH_M = 6.67  # of the road
VIEW = (84, 96)  # rows of the picture that show the road; below are the game's own gauges
GAS, BRAKE = 0.04, 0.02  # per m/s of difference
ZOOMING = 50  # steps in which the game's camera comes down on the car, which stands


class Racing:
    """One drive on the track of a seed."""

    def __init__(self, seed: int, most_steps: int = 2000, camera: bool = True) -> None:
        """camera: without it every frame is black, and a drive takes a tenth of the time. Raises
        ModuleNotFoundError without the extra."""
        gymnasium: Any = importlib.import_module("gymnasium")
        self._env = gymnasium.make("CarRacing-v3", max_episode_steps=most_steps)
        self._frame, _ = self._env.reset(seed=seed)
        self._game: Any = self._env.unwrapped
        self._game._render = Drawing(self._game) if camera else _black
        self.path: Path = np.array([(x, y) for *_, x, y in self._game.track])
        self.half_width = HALF_WIDTH_M
        self.reward = 0.0
        for _ in range(ZOOMING):
            self._act(np.array([0.0, 0.0, 1.0], dtype=np.float32))

    def frame(self) -> U8:
        """RGB [84, 96, 3]."""
        return np.ascontiguousarray(self._frame[: VIEW[0]])

    def true_pose(self) -> Pose:
        """From the physics."""
        hull = self._game.car.hull
        speed = hypot(*hull.linearVelocity)
        return Pose(hull.position[0], hull.position[1], hull.angle + pi / 2, speed)

    @property
    def lap(self) -> float:
        """Share of the lap's tiles that were driven over."""
        return float(self._game.tile_visited_count / len(self._game.track))

    def apply(self, command: Command) -> bool:
        """Steer, and give gas or brake towards the target speed."""
        apart = command.target_speed - self.true_pose().speed
        gas, brake = min(max(GAS * apart, 0.0), 1.0), min(max(-BRAKE * apart, 0.0), 1.0)
        action = np.array([-command.steering, gas, brake], dtype=np.float32)
        return self._act(action)

    def _act(self, action: npt.NDArray[np.float32]) -> bool:
        self._frame, reward, ended, cut, _ = self._env.step(action)
        self.reward += float(reward)
        return not (ended or cut)

    def close(self) -> None:
        """Free the game."""
        self._env.close()


def _black(mode: str) -> U8:
    return np.zeros((96, 96, 3), np.uint8)
