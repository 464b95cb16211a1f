# SPDX-License-Identifier: Apache-2.0
"""Linear maps of tensors, each with its absolute value and its transpose.

A map takes tensors float64 [N, *inside] to [N, *outside]. ``apply`` is W x, ``spread`` is |W| x and
``back`` takes [N, *outside] to W^T x, [N, *inside]. Weights are integers where the file has
integers; ``gain`` makes steps of the output grid of the integer sum, so that ``total`` is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

Shape = tuple[int, ...]


class Map(Protocol):
    """What every linear map offers; ``terms`` is the largest number of summands of an output."""

    terms: int

    def apply(self, x: Tensor) -> Tensor: ...

    def spread(self, r: Tensor) -> Tensor: ...

    def back(self, a: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Conv:
    """Two-dimensional convolution, zero padding (top, left, bottom, right), no bias.

    weight float64 [O, I / groups, kh, kw]; gain float64 [O, 1, 1]; inside is (I, H, W).
    """

    weight: Tensor
    gain: Tensor
    inside: Shape
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def terms(self) -> int:
        return self.weight[0].numel()

    def total(self, x: Tensor) -> Tensor:
        """The sum before the gain; exact for integers."""
        return self._forward(x, self.weight)

    def apply(self, x: Tensor) -> Tensor:
        return self.total(x) * self.gain

    def spread(self, r: Tensor) -> Tensor:
        return self._forward(r, self.weight.abs()) * self.gain.abs()

    def _forward(self, x: Tensor, weight: Tensor) -> Tensor:
        top, left, bottom, right = self.pads
        if (top, left) == (bottom, right):
            return functional.conv2d(
                x, weight, None, self.stride, (top, left), self.dilation, self.groups
            )
        x = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(x, weight, None, self.stride, 0, self.dilation, self.groups)

    def back(self, a: Tensor) -> Tensor:
        top, left, bottom, right = self.pads
        _, height, width = self.inside
        full = functional.conv_transpose2d(
            a * self.gain, self.weight, None, self.stride, 0, 0, self.groups, self.dilation
        )
        # What the strides never reached at the far edges has no influence: zeros.
        missing = [
            max(0, side + lead + tail - reached)
            for side, lead, tail, reached in (
                (width, left, right, full.shape[-1]),
                (height, top, bottom, full.shape[-2]),
            )
        ]
        full = functional.pad(full, (0, missing[0], 0, missing[1]))
        return full[..., top : top + height, left : left + width]


@dataclass(frozen=True)
class Dense:
    """Matrix product: weight float64 [O, I], gain float64 [O]."""

    weight: Tensor
    gain: Tensor

    @property
    def terms(self) -> int:
        return self.weight.shape[1]

    def total(self, x: Tensor) -> Tensor:
        """The sum before the gain; exact for integers."""
        return x @ self.weight.T

    def apply(self, x: Tensor) -> Tensor:
        return self.total(x) * self.gain

    def spread(self, r: Tensor) -> Tensor:
        return (r @ self.weight.abs().T) * self.gain.abs()

    def back(self, a: Tensor) -> Tensor:
        return (a * self.gain) @ self.weight


@dataclass(frozen=True)
class Scale:
    """Every value times one number."""

    factor: float
    terms: int = 1

    def apply(self, x: Tensor) -> Tensor:
        return x * self.factor

    def spread(self, r: Tensor) -> Tensor:
        return r * abs(self.factor)

    def back(self, a: Tensor) -> Tensor:
        return a * self.factor


def average(inside: Shape, kernel: tuple[int, int], stride: tuple[int, int], gain: float) -> Conv:
    """Average pooling without padding as a convolution of each channel with ones."""
    channels = inside[0]
    ones = torch.ones(channels, 1, *kernel, dtype=torch.float64)
    share = torch.full((channels, 1, 1), gain / (kernel[0] * kernel[1]), dtype=torch.float64)
    return Conv(ones, share, inside, stride, (0, 0, 0, 0), (1, 1), channels)
