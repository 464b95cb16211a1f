# SPDX-License-Identifier: Apache-2.0
"""What a name in an ONNX graph stands for while it is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgeguard.lab.verification.maps import Map, Shape
from edgeguard.lab.verification.net import Grid


@dataclass(frozen=True)
class Constant:
    """An initializer. scale and zero: of a dequantized one, scalars or one per index of axis."""

    array: npt.NDArray[np.generic]
    scale: npt.NDArray[np.float64] | None = None
    zero: npt.NDArray[np.int64] | None = None
    axis: int = 0

    def real(self) -> npt.NDArray[np.float64]:
        """The numbers that it stands for."""
        whole = self.array.astype(np.float64)
        if self.scale is None or self.zero is None:
            return whole
        # a product of arrays without axes is a number, no array
        return np.asarray((whole - self._along(self.zero)) * self._along(self.scale))

    def _along(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        if values.size == 1:
            return values.astype(np.float64).reshape(())
        shape = [1] * self.array.ndim
        shape[self.axis] = -1
        return values.astype(np.float64).reshape(shape)


@dataclass(frozen=True)
class Integers:
    """The output of a layer, read as scale * (q - zero); real: it was dequantized."""

    number: int
    scale: float
    zero: int
    real: bool


@dataclass(frozen=True)
class Term:
    """A linear map of a layer; ``at(step)`` gives it in units of the step of the output grid.

    scales float64 [O]: input scale * weight scale of each output, where the weights are integers.
    """

    source: Integers
    at: Callable[[float], Map]
    scales: Tensor | None = None


@dataclass(frozen=True)
class Ends:
    """A Relu or Clip on the way to the quantizer, in real numbers."""

    low: float = -math.inf
    high: float = math.inf

    def inside(self, low: float, high: float) -> Ends:
        """Clipped once more."""
        clip = lambda v: min(max(v, low), high)  # noqa: E731
        return Ends(clip(self.low), clip(self.high))

    def on(self, grid: Grid) -> tuple[int, int]:
        """The integers that they become: the quantizer's own rounding of both."""
        if (self.low, self.high) == (-math.inf, math.inf):
            return grid.low, grid.high
        ends = torch.tensor([self.low, self.high]).clamp(-1e30, 1e30)
        low, high = grid.steps(ends).tolist()
        return int(low), int(high)


@dataclass(frozen=True)
class Pending:
    """A float tensor, linear in integers, that waits for its quantizer; constant is in real units.

    shape is that of the sum, ``then`` the shape that it is given afterwards. float_bias: the node
    whose bias is no integer of its sum, or nothing. operand: the quantized constant that a tensor
    is added to. product: the MatMul or Gemm of the file that makes the sum.
    """

    terms: tuple[Term, ...]
    constant: Tensor
    ends: Ends = field(default_factory=Ends)
    then: Shape | None = None
    float_bias: str = ""
    operand: Constant | None = None
    product: Any = None

    @property
    def shape(self) -> Shape:
        return tuple(self.constant.shape)

    def clipped(self, low: float, high: float) -> Pending:
        """With a Relu or Clip behind."""
        return replace(self, ends=self.ends.inside(low, high))


Value = Constant | Integers | Pending
