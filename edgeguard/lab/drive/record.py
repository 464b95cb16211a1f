# SPDX-License-Identifier: Apache-2.0
"""Frames and what the rule would steer there, on training tracks, with pushes off the line.

Behaviour cloning from a rule that knows the truth; pushes show what a drive by the rule alone never
does: how to get back (Laskey et al. 2017, DART).
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
from rich.progress import track

from edgeguard.streams.loops.kept import GAME, key
from edgeguard.streams.loops.pursuit import Pursuit, Style
from edgeguard.streams.loops.racing import Racing
from edgeguard.streams.loops.vehicle import Command
from edgeguard.written import whole

PUSH = 0.8  # of full lock, at most
SKIP = 30  # steps while the game zooms in


def record(seeds: range, steps: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Frames [N, 84, 96, 3] RGB and steering [N], `steps` of each track."""
    frames, labels = [], []
    for seed in track(seeds, "recording"):
        for frame, steering in _drive(seed, steps):
            frames.append(frame)
            labels.append(steering)
    return np.stack(frames), np.array(labels, np.float32)


def _drive(seed: int, steps: int) -> list[tuple[npt.NDArray[np.uint8], float]]:
    rng = Random(seed)
    vehicle = Racing(seed)
    rule = Pursuit(vehicle.path, Style(most_mps=rng.uniform(40, 60)))
    found = []
    push, left = 0.0, 0
    for step in range(steps + SKIP):
        if left == 0:
            pushes = rng.random() < 0.35
            push = rng.uniform(-PUSH, PUSH) if pushes else 0.0
            left = rng.randint(3, 10) if pushes else rng.randint(8, 30)
        left -= 1
        want = rule.command(vehicle.true_pose())
        if step >= SKIP:
            found.append((vehicle.frame(), want.steering))
        steering = min(max(want.steering + push, -1.0), 1.0)
        if not vehicle.apply(Command(steering, want.target_speed)):
            break
    vehicle.close()
    return found


def cached(folder: Path, name: str, seeds: range, steps: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """The same, kept in a folder; made where it is not there yet, or was made by other code."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{seeds.start}-{seeds.stop}-{steps}-{key((), GAME)}.npz"
    if not file.is_file():
        frames, steering = record(seeds, steps)
        with whole(file) as made:
            np.savez(made, frames=frames, steering=steering)
    with np.load(file) as kept:
        return kept["frames"], kept["steering"]
