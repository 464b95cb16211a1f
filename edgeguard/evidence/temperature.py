# SPDX-License-Identifier: Apache-2.0
"""Temperature scaling and the reliability of certainty (Guo et al., ICML 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COLDEST, HOTTEST = 0.05, 20.0  # well inside what the kernel takes
_NO_PROBABILITY = -1e3  # log(0), so that a wrong certain answer costs much but not infinity


def exponents(real: Floats, kind: str) -> Floats:
    """What a softmax takes: logits [N, n] as they are, log of probabilities [N, n]."""
    if kind == "logits":
        return real
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(np.clip(real, 0.0, 1.0)), _NO_PROBABILITY)


def nll(z: Floats, y: Ints, temperature: float) -> float:
    """Mean negative log likelihood in nats of y [N] under softmax(z [N, n] / temperature)."""
    scaled = z / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(scaled).sum(axis=1))
    return float(np.mean(log_sum - scaled[np.arange(len(y)), y]))


def fit_temperature(z: Floats, y: Ints, tolerance: float = 1e-4) -> float:
    """The temperature in [COLDEST, HOTTEST] that minimises the NLL of y [N] under z [N, n].

    Golden-section search over log temperature; the NLL is convex in 1/temperature, so there is one
    minimum. ``tolerance`` is relative. Raises ValueError without samples.
    """
    if len(z) == 0:
        raise ValueError("no samples to fit a temperature on")
    golden = (math.sqrt(5.0) - 1.0) / 2.0
    low, high = math.log(COLDEST), math.log(HOTTEST)
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = nll(z, y, math.exp(left)), nll(z, y, math.exp(right))
    while high - low > tolerance:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = nll(z, y, math.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = nll(z, y, math.exp(right))
    return math.exp((low + high) / 2.0)


@dataclass(frozen=True)
class Reliability:
    """Frames binned by certainty: count, mean certainty and accuracy [bins]; empty bins hold 0."""

    count: Ints
    certainty: Floats
    accuracy: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error: mean |accuracy - certainty|, weighted by frames."""
        gaps = np.abs(self.accuracy - self.certainty)
        return float((gaps * self.count).sum() / max(1, self.count.sum()))


def reliability(certainty: Floats, correct: npt.NDArray[np.bool_], bins: int = 15) -> Reliability:
    """Bin frames by certainty [N] in 0..1, bins of equal width; correct [N] says who was right."""
    which = np.clip((certainty * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    filled = np.maximum(count, 1)
    return Reliability(
        count.astype(np.int64),
        np.bincount(which, certainty, bins) / filled,
        np.bincount(which, correct.astype(np.float64), bins) / filled,
    )
