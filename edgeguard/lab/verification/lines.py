# SPDX-License-Identifier: Apache-2.0
"""Two lines around every staircase, one input that stands for every window of a MaxPool.

The staircase q = clip(round(v) + z), v = p - z +- error, lies below its outer corners
(k - z - 1/2, k) and above its inner corners (k - z + 1/2, k). Upper line: through the last outer
corner that the interval [a, b] of p reaches, with a slope of at most 1 (so that it stays above the
corners before, which have slope 1) and at most that to the value at a. Lower line: the same seen
from b. Slope 0, the constant end, is taken where it leaves less area. Halves are counted to both
sides, so it does not matter which way a tie goes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgeguard.lab.verification.interval import Bounds
from edgeguard.lab.verification.net import MaxPool, Net, Steps

TINY = 1e-9  # outwards: pays for the float64 of the lines themselves


@dataclass(frozen=True)
class Lines:
    """lower * p + below <= q <= upper * p + above for p in its interval; all [N, *shape]."""

    lower: Tensor
    below: Tensor
    upper: Tensor
    above: Tensor


@dataclass(frozen=True)
class Window:
    """Per window of a MaxPool: place [N, C, 1, L] in it of the input with the largest low end;
    ``rules``: whether no other input can exceed it; high [N, C, L]: the most that it can be."""

    place: Tensor
    rules: Tensor
    high: Tensor


def lines(layer: Steps, found: Bounds, number: int) -> Lines:
    """The lines of a layer over its interval in ``found``."""
    least, most, error = found.before_low[number], found.before_high[number], found.error[number]
    assert least is not None and most is not None and error is not None
    if layer.raw:
        one = torch.ones_like(least)
        return Lines(one, -error, one, error)
    z = layer.grid.zero
    a, b = least - z, most - z
    above = lambda v: (torch.floor(v + 0.5) + z).clamp(layer.low, layer.high)  # noqa: E731
    under = lambda v: (torch.ceil(v - 0.5) + z).clamp(layer.low, layer.high)  # noqa: E731
    first, last = above(a), above(b)
    corner = last - z - 0.5
    upper = _slope(last - first, corner - a, (a + b) / 2 < corner)
    top = last - upper * (corner + z) + upper * error + TINY
    first, last = under(a), under(b)
    corner = first - z + 0.5
    lower = _slope(last - first, b - corner, (a + b) / 2 > corner)
    bottom = first - lower * (corner + z) - lower * error - TINY
    return Lines(lower, bottom, upper, top)


def _slope(rise: Tensor, run: Tensor, worth: Tensor) -> Tensor:
    """Rise over run, at most 1; 0 where the staircase is flat or the slope is not worth it."""
    steep = rise / run.clamp(min=1e-12)
    return torch.where((rise > 0) & worth, steep.clamp(max=1.0), torch.zeros_like(rise))


def windows(layer: MaxPool, x: Tensor) -> Tensor:
    """Values of every window, [N, C, k * k, L]; what lies in the padding is -inf."""
    top, left, bottom, right = layer.pads
    x = functional.pad(x, (left, right, top, bottom), value=-torch.inf)
    n, channels = x.shape[:2]
    cut = functional.unfold(x, layer.kernel, stride=layer.stride)
    return cut.view(n, channels, layer.kernel[0] * layer.kernel[1], -1)


def window(layer: MaxPool, found: Bounds) -> Window:
    """Which input stands for each window."""
    low = windows(layer, found.low[layer.inputs[0]])
    high = windows(layer, found.high[layer.inputs[0]])
    least, place = low.max(2, keepdim=True)
    others = high.scatter(2, place, -torch.inf).amax(2, keepdim=True)
    return Window(place, others <= least, high.amax(2))


def window_back(layer: MaxPool, a: Tensor, w: Window, net: Net) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients [N, R, C, h, w] of a MaxPool as those of its input, and constants [N, R] and
    the sums of their absolute terms."""
    n, rows, channels = a.shape[:3]
    a = a.flatten(3).unsqueeze(3)
    place, rules = w.place.unsqueeze(1), w.rules.unsqueeze(1)
    free = (a < 0) & ~rules
    terms = torch.where(free, a, 0.0).squeeze(3) * w.high.unsqueeze(1)
    constant, mass = terms.sum((2, 3)), terms.abs().sum((2, 3))
    held = torch.where(free, 0.0, a)
    size = layer.kernel[0] * layer.kernel[1]
    full = torch.zeros(n, rows, channels, size, a.shape[-1], dtype=a.dtype)
    full.scatter_(3, place.expand(-1, rows, -1, -1, -1), held)
    top, left, bottom, right = layer.pads
    shape = net.shape if layer.inputs[0] == 0 else net.layers[layer.inputs[0] - 1].shape
    height, width = shape[1] + top + bottom, shape[2] + left + right
    flat = full.view(n * rows, channels * size, -1)
    image = functional.fold(flat, (height, width), layer.kernel, stride=layer.stride)
    image = image[..., top : top + shape[1], left : left + shape[2]]
    return image.reshape(n, rows, *shape), constant, mass
