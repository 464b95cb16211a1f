# SPDX-License-Identifier: Apache-2.0
"""Interval bounds of every integer of a net over boxes of inputs.

Sound for the file that runs: both ends of p are moved outwards by ``Steps.error``, which pays for
the float32 of the runtime and the float64 of this computation, and then rounded by the quantizer's
own staircase, which is monotone. So an interval of integers becomes an interval of integers, and
rounding makes it no wider on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgeguard.lab.verification.net import Net, Steps


@dataclass
class Bounds:
    """Ends of every layer over N boxes; number 0 is the input.

    low, high float64 [N, *shape] are integers q. before_low, before_high hold p less and plus the
    runtime's error for ``Steps`` layers, error that error; None elsewhere.
    """

    low: list[Tensor]
    high: list[Tensor]
    before_low: list[Tensor | None]
    before_high: list[Tensor | None]
    error: list[Tensor | None]

    def pick(self, index: Tensor) -> Bounds:
        """The bounds of some of the boxes."""
        some = [[None if t is None else t[index] for t in part] for part in self._parts()]
        return Bounds(*some)  # type: ignore[arg-type]

    def grow(self) -> None:
        """Make room for one more layer."""
        for part in self._parts():
            part.append(None)

    def _parts(self) -> list[list[Any]]:
        return [self.low, self.high, self.before_low, self.before_high, self.error]


def bounds(net: Net, low: Tensor, high: Tensor) -> Bounds:
    """Bounds over boxes of input integers, low and high float64 [N, *shape]."""
    found = Bounds([low], [high], [None], [None], [None])
    for number in range(1, len(net.layers) + 1):
        found.grow()
        update(net, found, number)
    return found


def update(net: Net, found: Bounds, number: int) -> None:
    """Compute the bounds of one layer anew from those of its inputs; keep what was tighter."""
    layer = net.layers[number - 1]
    low = [found.low[i] for i in layer.inputs]
    high = [found.high[i] for i in layer.inputs]
    if isinstance(layer, Steps):
        error = layer.error(low, high)
        least, most = before(layer, low, high, error)
        old_low, old_high = found.before_low[number], found.before_high[number]
        if old_low is not None and old_high is not None:
            least, most = torch.maximum(least, old_low), torch.minimum(most, old_high)
        found.error[number] = error
        found.before_low[number], found.before_high[number] = least, most
        found.low[number], found.high[number] = layer.round(least), layer.round(most)
    else:
        found.low[number], found.high[number] = layer.run(low), layer.run(high)


def before(layer: Steps, low: list[Tensor], high: list[Tensor], error: Tensor
           ) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Ends of p over boxes of the layer's inputs, moved outwards by the error."""
    centre = layer.before([(a + b) / 2 for a, b in zip(low, high, strict=True)])
    radius = error
    for one, a, b in zip(layer.maps, low, high, strict=True):
        radius = radius + one.spread((b - a) / 2)
    return centre - radius, centre + radius


def box(net: Net, q: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """All inputs that differ from integers q [N, *shape] by at most ``radius`` steps in each."""
    return (q - radius).clamp(min=net.input.low), (q + radius).clamp(max=net.input.high)
