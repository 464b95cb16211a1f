# SPDX-License-Identifier: Apache-2.0
"""CarRacing as an environment that can be learned in a minute: nine numbers in, two out."""

from __future__ import annotations

from math import atan2, pi, sin
from random import Random
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from edgeguard.streams.loops.pursuit import Pursuit
from edgeguard.streams.loops.racing import Racing
from edgeguard.streams.loops.sensors import Errors, Odometry
from edgeguard.streams.loops.vehicle import Command

Array = npt.NDArray[np.float64]
PERIOD_S = 0.02
AHEAD_M = (6.0, 12.0, 20.0, 30.0, 45.0)
FASTEST_MPS = 60.0
DRIFT_S = 0.5  # so far ahead a drift is seen, as in guard.toml
CALM_M, EDGE_M, LEAST = 1.0, 5.0, 0.2  # the rule slows down from there to there, to that share
SEES = len(AHEAD_M) + 4


class Road(gymnasium.Env[Array, Array]):
    """What a car measures of itself and of the centre line; it says steering and target speed.

    Observation [9]: the directions of five points of the road ahead (rad), the distance from its
    middle over the half width, the road's own direction (rad), speed / 30 m/s, 1. Action [2]:
    steering, -1 right to 1 left, and m/s. Reward: CarRacing's own (`"tiles"`), or metres driven
    (`"metres"`), whatever is under the wheels.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (SEES,), np.float64)
    action_space = gymnasium.spaces.Box(
        np.array([-1.0, 0.0]), np.array([1.0, FASTEST_MPS]), dtype=np.float64
    )

    def __init__(self, reward: str = "tiles", ends_off_road: bool = True, most: int = 500) -> None:
        """ends_off_road: an episode ends when the middle of the car leaves the road; most: steps
        of an episode. The seed of `reset` is that of the track."""
        self._kind, self._ends, self._most = reward, ends_off_road, most
        self._car: Racing | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.close()
        track = int(self.np_random.integers(2**31)) if seed is None else seed
        self._car = Racing(track, most_steps=self._most + 1000, camera=False)
        self._sensors = Odometry(Errors(), Random(track))
        self.rule, self._judge = Pursuit(self._car.path), Pursuit(self._car.path)
        path = self.rule.path
        step_m = float(np.linalg.norm(np.roll(path, -1, axis=0) - path, axis=1).mean())
        self._points = np.rint(np.array(AHEAD_M) / step_m).astype(int)
        self._steps, self._earned = 0, self._car.reward
        return self._look(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        assert self._car is not None
        going = self._car.apply(Command(float(action[0]), float(action[1])))
        self._steps += 1
        pose = self._car.true_pose()
        off = abs(self._judge.lateral(pose)) > self._car.half_width
        tiles, self._earned = self._car.reward - self._earned, self._car.reward
        reward = tiles if self._kind == "tiles" else pose.speed * PERIOD_S
        ended = not going or (off and self._ends)
        return self._look(), reward, ended, self._steps >= self._most, {"off": off}

    def signals(self) -> dict[str, float]:
        """What the guard is told: all of it measured, the rule's command among it."""
        pose, lateral_m = self._seen, self._lateral_m
        want = self.rule.command(pose)
        drift_m = -DRIFT_S * pose.speed * sin(self._along)
        leaving = (abs(lateral_m + drift_m) - CALM_M) / (EDGE_M - CALM_M)
        care = min(max(1.0 - leaving, LEAST), 1.0)  # a rule that gives gas in a slide spins
        return {
            "speed": pose.speed, "lateral": lateral_m, "drift": drift_m,
            "rule": want.steering, "pace": care * want.target_speed,
        }  # fmt: skip

    def close(self) -> None:
        if self._car is not None:
            self._car.close()

    def _look(self) -> Array:
        """Read the sensors once; the observation, and what `signals` says, come from that."""
        assert self._car is not None
        self._seen = pose = self._sensors.read(self._car.true_pose())
        self._lateral_m = self.rule.lateral(pose)
        path, at = self.rule.path, self.rule.nearest(pose)
        ahead = path[(at + self._points) % len(path)]
        x, y = (ahead - (pose.x, pose.y)).T
        turns = _wrapped(np.arctan2(y, x) - pose.heading)
        (dx, dy) = path[(at + 2) % len(path)] - path[at - 2]
        self._along = float(_wrapped(atan2(dy, dx) - pose.heading))
        lateral = self._lateral_m / self._car.half_width
        return np.array([*turns, lateral, self._along, pose.speed / 30.0, 1.0])


def _wrapped(angle: Any) -> Any:
    """Radians, in [-pi, pi)."""
    return (angle + pi) % (2 * pi) - pi
