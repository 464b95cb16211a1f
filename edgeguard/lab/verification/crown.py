# SPDX-License-Identifier: Apache-2.0
"""CROWN: linear bounds carried backwards from the scores to the input, sound for the int8 file.

A row of coefficients A on the integers of a layer becomes one on p by the lines of ``lines`` (the
lower one where A is positive, the upper one where it is negative), and one on the layer's inputs
by the transposed map; offsets add up. Zhang et al. 2018, "Efficient Neural Network Robustness
Certification with General Activation Functions", with the staircase as activation. At every layer
on the way the row may stop and take the ends of the integers there; the largest of all these lower
bounds counts, so that the result is never worse than that of intervals.

**Float64.** A computed transposed product differs from the exact one by at most 1e-11 of |W| |A|
(sums of fewer than 1e4 products), which moves the bound by at most 1e-11 of |A| |W| |q|. Sums of
offsets differ by no more than that of the sum of their absolute terms. ``mass`` adds up all of
these terms, and the bound is lowered by ``DOUBT`` of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeguard.lab.verification.interval import Bounds, update
from edgeguard.lab.verification.lines import Lines, Window, lines, window, window_back
from edgeguard.lab.verification.net import MaxPool, Net, Reshape, Steps

DOUBT = 1e-10
ROWS = 4096  # images times rows in one backward pass


class Crown:
    """Backward bounds over the boxes of ``found``; lines are made once and kept."""

    def __init__(self, net: Net, found: Bounds) -> None:
        self.net, self.found = net, found
        self.shapes = {
            number: lines(layer, found, number)
            if isinstance(layer, Steps)
            else window(layer, found)
            for number, layer in enumerate(net.layers, 1)
            if not isinstance(layer, Reshape)
        }
        self.reach = {
            number: self._reach(layer)
            for number, layer in enumerate(net.layers, 1)
            if isinstance(layer, Steps)
        }

    def _reach(self, layer: Steps) -> Tensor:
        """Sum of the absolute terms of p, [N, *shape]."""
        size = layer.constant.abs()
        for source, one in zip(layer.inputs, layer.maps, strict=True):
            size = size + one.spread(
                torch.maximum(self.found.low[source].abs(), self.found.high[source].abs())
            )
        return size

    def least(self, number: int, rows: Tensor) -> Tensor:
        """Lower bounds [N, R] of rows [N, R, *shape] times the integers of a layer."""
        zero = torch.zeros(rows.shape[:2], dtype=torch.float64)
        return self._walk({number: rows}, zero, zero)

    def least_before(self, number: int, rows: Tensor) -> Tensor:
        """Lower bounds [N, R] of rows [N, R, *shape] times the p of a ``Steps`` layer."""
        pending: dict[int, Tensor] = {}
        return self._walk(pending, *self._through(number, rows, pending))

    def coefficients(self, number: int, row: Tensor) -> dict[int, Tensor]:
        """Coefficients of one row on the integers of every layer below, by its number."""
        pending, found = {number: row.view(1, 1, -1)}, {}
        while any(key > 0 for key in pending):
            at = max(pending)
            found[at] = pending.pop(at)
            self._step(at, found[at], pending)
        return found

    def _walk(self, pending: dict[int, Tensor], offset: Tensor, mass: Tensor) -> Tensor:
        best = self._stop(pending, offset, mass)
        while any(number > 0 for number in pending):
            number = max(pending)
            more = self._step(number, pending.pop(number), pending)
            offset, mass = offset + more[0], mass + more[1]
            best = torch.maximum(best, self._stop(pending, offset, mass))
        return best

    def _stop(self, pending: dict[int, Tensor], offset: Tensor, mass: Tensor) -> Tensor:
        """The bound if the ends of all integers reached so far are taken."""
        for number, a in pending.items():
            low, high = (_flat(t[number], a) for t in (self.found.low, self.found.high))
            flat = a.flatten(2)
            worst = flat.clamp(min=0) @ low + flat.clamp(max=0) @ high
            offset = offset + worst.squeeze(-1)
            mass = mass + (flat.abs() @ torch.maximum(low.abs(), high.abs())).squeeze(-1)
        return offset - DOUBT * (1 + mass)

    def _step(self, number: int, a: Tensor, pending: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Carry rows on the integers of a layer to its inputs; returns offsets and their mass."""
        layer = self.net.layers[number - 1]
        if isinstance(layer, Reshape):
            source = layer.inputs[0]
            shape = self.net.shape if source == 0 else self.net.layers[source - 1].shape
            _add(pending, source, a.reshape(*a.shape[:2], *shape))
            return torch.zeros(a.shape[:2], dtype=a.dtype), torch.zeros((), dtype=a.dtype)
        if isinstance(layer, MaxPool):
            w = self.shapes[number]
            assert isinstance(w, Window)
            back, offset, mass = window_back(layer, a, w, self.net)
            _add(pending, layer.inputs[0], back)
            return offset, mass
        two = self.shapes[number]
        assert isinstance(two, Lines)
        up, down = a.clamp(min=0), a.clamp(max=0)
        onto = up * two.lower.unsqueeze(1) + down * two.upper.unsqueeze(1)
        terms = up * two.below.unsqueeze(1) + down * two.above.unsqueeze(1)
        offset, mass = terms.flatten(2).sum(2), terms.abs().flatten(2).sum(2)
        more = self._through(number, onto, pending)
        return offset + more[0], mass + more[1]

    def _through(self, number: int, a: Tensor, pending: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Carry rows on the p of a layer to its inputs; returns offsets and mass."""
        layer = self.net.layers[number - 1]
        assert isinstance(layer, Steps)
        n, rows = a.shape[:2]
        for source, one in zip(layer.inputs, layer.maps, strict=True):
            back = one.back(a.reshape(n * rows, *a.shape[2:]))
            _add(pending, source, back.reshape(n, rows, *back.shape[1:]))
        mass = (a.abs() * self.reach[number].unsqueeze(1)).flatten(2).sum(2)
        return (a * layer.constant).flatten(2).sum(2), mass


def _flat(t: Tensor, a: Tensor) -> Tensor:
    return t.reshape(len(a), -1, 1)


def _add(pending: dict[int, Tensor], number: int, a: Tensor) -> None:
    pending[number] = pending[number] + a if number in pending else a


def refine(net: Net, found: Bounds, number: int) -> None:
    """Tighten the bounds of one ``Steps`` layer by CROWN from below it, and its own integers."""
    layer = net.layers[number - 1]
    assert isinstance(layer, Steps)
    least, most, error = found.before_low[number], found.before_high[number], found.error[number]
    assert least is not None and most is not None and error is not None
    crown = Crown(net, found)
    n = len(least)
    open_ = torch.nonzero((found.low[number] < found.high[number]).flatten(1).any(0)).view(-1)
    if not len(open_):
        return
    width = layer.constant.numel()
    for part in torch.split(open_, max(1, ROWS // (2 * n))):
        rows = torch.zeros(len(part), width, dtype=torch.float64)
        rows[torch.arange(len(part)), part] = 1.0
        both = torch.cat([rows, -rows]).view(1, -1, *layer.shape).expand(n, -1, *layer.shape)
        ends = crown.least_before(number, both.contiguous())
        slack = error.flatten(1)[:, part]
        low, high = ends[:, : len(part)] - slack, -ends[:, len(part) :] + slack
        flat_low, flat_high = least.flatten(1), most.flatten(1)
        flat_low[:, part] = torch.maximum(flat_low[:, part], low)
        flat_high[:, part] = torch.minimum(flat_high[:, part], high)
    for later in range(number, len(net.layers) + 1):
        update(net, found, later)


def rivals(net: Net, y: Tensor) -> Tensor:
    """Rows [N, K, K] of score y less score k; the row of y itself is zero."""
    size = net.layers[net.output - 1].shape[0]
    one = torch.eye(size, dtype=torch.float64)
    return one[y][:, None, :] - one[None]


def margins(net: Net, found: Bounds, y: Tensor) -> Tensor:
    """Lower bounds [N, K] of integer score y less every score; 0 at y itself."""
    least = Crown(net, found).least(net.output, rivals(net, y))
    return least.scatter(1, y[:, None], 0.0)
