# SPDX-License-Identifier: Apache-2.0
"""What an int8 file computes, in integers.

A file becomes a list of layers over integer tensors (``read.read_net`` makes it). There are three:

* ``Steps``: q = clip(round(p - z) + z, low, high) with p = sum of linear maps of integer tensors,
  plus a constant. Conv, Gemm, MatMul, Add, average pooling and a change of scale are all of this
  kind, and so is the ReLU or Clip before a quantizer: round is monotone, so that clipping first
  and rounding then is rounding first and clipping then at the rounded ends.
* ``MaxPool`` on integers, ``Reshape`` of integers: exact.

**The rounding of the runtime.** p stands for the real number that the float32 scales and integers
of the file define. No runtime computes it exactly, and ONNX Runtime does not do it one way: it runs
some layers of one file as integer sums times one float32, others dequantized and summed in float32
in an order that depends on processor and batch (1.32 on x86-64 does so for the first Conv, the Gemm
behind a Flatten and around an Add). Whatever it does, what is rounded differs from p - z by at most
``error``: sums of n products in any order, with or without fused multiply-add, are off by at most
n u / (1 - n u) times the sum of the absolute terms, u = 2**-24 (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., section 3.1). To n come ``SLACK`` roundings: of both dequantized
factors, of the bias and its scale (read refuses one that is more than 4 u away), of the combined
scale, of the conversion of an integer sum, of the last product or division. The sum of the absolute
terms is bounded over the box that is looked at.

Sums of two quantized tensors, of which one may be a constant of the file, have kernels of their own
(MLAS, qladd.cpp), which do not add products of q less its zero point: those for x86-64 and POWER
begin with the zero points of both inputs and of the output, so that larger terms than those of the
result are rounded; the one for ARM rounds both ratios of the scales to whole numbers of 2**-21 of
the power of two below the larger ratio.
``Steps._added`` pays for them.

**Files without that error.** Where the scales of input and weight are m * 2**k with small odd m,
all partial sums are integer multiples of one power of two, and exact in float32 as long as the
absolute terms sum to less than 2**24 of it: then only the last roundings are left, and every
order and every machine gives the same integers. ``exact_scales`` makes such files.

Hence for every such execution round(p - error - z) <= q - z <= round(p + error - z) before the
clip, which is all that the bounds use. What this does not cover: kernels that saturate in between
(unsigned activations times signed weights by pmaddubsw, on x86-64 without VNNI, unless all weights
are within -64..64). ``check.check`` compares a file with the runtime that is there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from edgeguard.lab.verification.maps import Conv, Dense, Map, Scale, Shape

UNIT = 2.0**-24  # half the distance of 1 to the next float32
SLACK = 16  # roundings besides those of the sum
ADDED = 8  # roundings of a term in the kernels of QLinearAdd
FIXED = 2.0**-21  # of the larger ratio: twice what QLinearAdd on ARM rounds either of them by
LAST = 7  # those that an exact sum leaves, and one for the float64 that bounds are computed in


@dataclass(frozen=True)
class Grid:
    """An integer tensor stands for scale * (q - zero), q in low..high."""

    scale: float
    zero: int
    low: int
    high: int

    def steps(self, real: Tensor) -> Tensor:
        """QuantizeLinear: float32 division, half to even, saturation; integers as float64."""
        ratio = real.to(torch.float32) / torch.tensor(self.scale, dtype=torch.float32)
        return (torch.round(ratio).double() + self.zero).clamp(self.low, self.high)


@dataclass(frozen=True)
class Operand:
    """A quantized constant that is added: factor * (whole - zero), whole float64 to be broadcast
    over the shape of the sum, factor in steps of the output."""

    whole: Tensor
    zero: int
    factor: float


@dataclass(frozen=True)
class Steps:
    """p = sum(maps[i](q[inputs[i]])) + constant; q = clip(round(p - zero) + zero, low, high).

    constant and bias float64 [*shape] in steps of the output; bias is that on top of
    map(q - zero); zeros are the zero points of the inputs. exact float64, to be broadcast over
    shape: sums of absolute terms below it are exact. raw: the last layer of a file with float
    scores, which are p in units of ``grid.scale`` and are not rounded. operand: what of constant
    is an operand of a quantized Add.
    """

    inputs: tuple[int, ...]
    maps: tuple[Map, ...]
    constant: Tensor
    bias: Tensor
    zeros: tuple[int, ...]
    exact: Tensor
    grid: Grid
    low: int
    high: int
    name: str
    raw: bool = False
    operand: Operand | None = None

    @property
    def shape(self) -> Shape:
        return tuple(self.constant.shape)

    def before(self, q: Sequence[Tensor]) -> Tensor:
        """p [N, *shape] of the integers of the layers that this one reads."""
        total = self.constant
        for one, x in zip(self.maps, q, strict=True):
            total = total + one.apply(x)
        return total

    def error(self, low: Sequence[Tensor], high: Sequence[Tensor]) -> Tensor:
        """How far any runtime is from p, [N, *shape], for inputs within [low, high]."""
        size = self.bias.abs()
        for one, zero, least, most in zip(self.maps, self.zeros, low, high, strict=True):
            size = size + one.spread(torch.maximum((least - zero).abs(), (most - zero).abs()))
        n = sum(one.terms for one in self.maps) + SLACK
        share = n * UNIT / (1 - n * UNIT)
        found = torch.where(size < self.exact, LAST * UNIT, share) * size + 1e-9
        return found if len(self._operands(low, high)) == 1 else found + self._added(low, high)

    def _operands(
        self, low: Sequence[Tensor], high: Sequence[Tensor]
    ) -> list[tuple[Map, int, Tensor, Tensor]]:
        """Map, zero point and ends of the integers of everything that is summed."""
        found = list(zip(self.maps, self.zeros, low, high, strict=True))
        if self.operand is not None:
            whole = self.operand.whole
            found.append((Scale(self.operand.factor), self.operand.zero, whole, whole))
        return found

    def _added(self, low: Sequence[Tensor], high: Sequence[Tensor]) -> Tensor:
        """What the kernels of QLinearAdd are further from p, [N, *shape]."""
        far = torch.zeros(())
        size = torch.tensor(float(abs(self.grid.zero)))
        operands = self._operands(low, high)
        largest = max(abs(cast(Scale, one).factor) for one, *_ in operands)
        for one, zero, least, most in operands:
            far = far + torch.maximum((least - zero).abs(), (most - zero).abs())
            size = size + one.spread(torch.maximum(least.abs(), most.abs()) + abs(zero))
        return FIXED * largest * far + ADDED * UNIT * size

    def round(self, p: Tensor) -> Tensor:
        """The staircase."""
        if self.raw:
            return p
        return (torch.round(p - self.grid.zero) + self.grid.zero).clamp(self.low, self.high)

    def run(self, q: Sequence[Tensor]) -> Tensor:
        """The integers as ONNX Runtime's fused kernels make them: one float32 product."""
        one = self.maps[0]
        if self.raw or len(self.maps) > 1 or not isinstance(one, (Conv, Dense)):
            return self.round(self.before(q))
        whole = one.total(q[0] - self.zeros[0]) + torch.round(self.bias / one.gain)
        product = whole.float() * one.gain.float()
        steps = torch.round(product).double() + self.grid.zero
        return steps.clamp(self.low, self.high)


@dataclass(frozen=True)
class MaxPool:
    """Largest integer of each window; pads are below every integer."""

    inputs: tuple[int, ...]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]
    shape: Shape
    grid: Grid
    name: str

    def run(self, q: Sequence[Tensor]) -> Tensor:
        """[N, C, H, W] -> [N, C, h, w]."""
        top, left, bottom, right = self.pads
        x = q[0]
        if any(self.pads):
            x = functional.pad(x, (left, right, top, bottom), value=-torch.inf)
        return functional.max_pool2d(x, self.kernel, self.stride)


@dataclass(frozen=True)
class Reshape:
    """The same integers in another shape."""

    inputs: tuple[int, ...]
    shape: Shape
    grid: Grid
    name: str

    def run(self, q: Sequence[Tensor]) -> Tensor:
        """[N, ...] -> [N, *shape]."""
        return q[0].reshape(len(q[0]), *self.shape)


Layer = Steps | MaxPool | Reshape


@dataclass(frozen=True)
class Net:
    """Layers in the order of computation; layer i of ``layers`` has number i + 1, the input 0.

    ``output`` is the number of the layer with the scores. ``real_input``: the file takes float32
    and quantizes it itself; otherwise it takes the integers.
    """

    input: Grid
    shape: Shape
    real_input: bool
    layers: tuple[Layer, ...]
    output: int
    input_name: str
    output_name: str
    source: str = field(default="")

    def grid(self, number: int) -> Grid:
        """The grid of a layer's output, of the input for 0."""
        return self.input if number == 0 else self.layers[number - 1].grid

    def values(self, q: Tensor) -> list[Tensor]:
        """Integers float64 [N, *shape] of the input and of every layer."""
        found = [q]
        for layer in self.layers:
            found.append(layer.run([found[i] for i in layer.inputs]))
        return found

    def run(self, q: Tensor) -> Tensor:
        """Integers of the scores [N, K] (p where the scores are not quantized)."""
        return self.values(q)[self.output].flatten(1)


def exact_below(scales: Tensor, gain: Tensor) -> Tensor:
    """``Steps.exact`` of a layer with these products of input and weight scale (float32 exact)."""
    odd = torch.tensor([float(_odd(float(s)) or 2**24) for s in scales], dtype=torch.float64)
    return 2.0**24 / odd.view_as(gain) * gain


def _odd(scale: float) -> int:
    """m of scale = m * 2**k, m odd; 0 if it is larger than 2**24."""
    m, _ = math.frexp(scale)
    whole = int(m * 2**53)
    whole //= whole & -whole
    return whole if whole < 2**24 else 0
