# SPDX-License-Identifier: Apache-2.0
"""Augmented random search (Mania, Guy and Recht 2018) on a linear policy: enough for this road."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from attrs import frozen

from edgeguard.lab.shield.road import FASTEST_MPS, SEES

Array = npt.NDArray[np.float64]
Rollout = Callable[[Array, int], float]
"""(weights [2, 9], which rollout) -> return. The two of a pair have the same number."""


@frozen
class Search:
    """How it searches; `noise` and `step` are in weights, whose inputs are about 1."""

    rounds: int = 30
    directions: int = 8
    best: int = 4
    noise: float = 0.3
    step: float = 0.2


def act(weights: Array, seen: Array) -> Array:
    """Steering, and a speed between none and the fastest."""
    steer, speed = weights @ seen
    return np.array([np.clip(steer, -1.0, 1.0), FASTEST_MPS / (1.0 + np.exp(-speed))])


def start() -> Array:
    """Straight ahead at 20 m/s."""
    weights = np.zeros((2, SEES))
    weights[1, -1] = -0.7
    return weights


def learn(rollout: Rollout, seed: int, search: Search) -> Array:
    """Try both ways along random directions, go along the best ones. Returns the weights."""
    rng, weights = np.random.default_rng(seed), start()
    for n in range(search.rounds):
        tries = []
        for i in range(search.directions):
            way = rng.normal(size=weights.shape)
            number = n * search.directions + i
            up = rollout(weights + search.noise * way, number)
            down = rollout(weights - search.noise * way, number)
            tries.append((max(up, down), up, down, way))
        tries.sort(key=lambda t: t[0], reverse=True)
        kept = tries[: search.best]
        spread = np.std([r for _, up, down, _ in kept for r in (up, down)]) + 1e-8
        weights = weights + search.step / (search.best * spread) * sum(
            ((up - down) * way for _, up, down, way in kept), np.zeros_like(weights)
        )
    return weights
