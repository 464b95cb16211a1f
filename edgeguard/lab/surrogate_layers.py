# SPDX-License-Identifier: Apache-2.0
"""The layers of a quantized file in torch: integers going forward, straight through going back.

Steps (what an int8 or uint8 tensor holds) travel as whole numbers in float32. An accumulator is a
sum of products of 8-bit steps: float32 holds it exactly below 2^24, which is checked for each layer
when it is made; above that the sum runs in float64. Requantization follows the runtimes: MLAS in
ONNX Runtime and XNNPACK in LiteRT (on x86-64) both turn the int32 accumulator into a float32,
multiply it by the float32 number (scale_x * scale_w) / scale_y, saturate, and round half to even.

Going back, rounding is the identity (straight-through estimator, Bengio et al. 2013) and saturation
passes the gradient inside its range only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Layer = Callable[..., Tensor]
EXACT = 2**24  # whole numbers up to here are exact in float32


@dataclass(frozen=True)
class Affine:
    """real = scale * (step - zero), with steps from low to high."""

    scale: float
    zero: int
    low: int = -128
    high: int = 127

    def clamped(self, low: float, high: float) -> Affine:
        """The same steps, saturated at real numbers low and high (a fused activation)."""
        ends = [round(end / self.scale) + self.zero if abs(end) != torch.inf else None
                for end in (low, high)]  # fmt: skip
        return Affine(
            self.scale,
            self.zero,
            self.low if ends[0] is None else max(self.low, ends[0]),
            self.high if ends[1] is None else min(self.high, ends[1]),
        )


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()  # half to even

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


class _Floor(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.floor()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


def rounded(x: Tensor) -> Tensor:
    """Half to even; the gradient passes unchanged."""
    made: Tensor = _Round.apply(x)
    return made


def floored(x: Tensor) -> Tensor:
    """Downwards; the gradient passes unchanged."""
    made: Tensor = _Floor.apply(x)
    return made


def saturated(steps: Tensor, to: Affine) -> Tensor:
    """Steps less their zero point, as steps of `to`."""
    return (steps + to.zero).clamp(to.low, to.high)


@dataclass(frozen=True)
class Window:
    """How a kernel walks: pads are top, left, bottom, right."""

    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    size: tuple[int, int] = (1, 1)

    def padded(self, x: Tensor, value: float = 0.0) -> Tensor:
        """The picture [N, C, H, W] with a border."""
        top, left, bottom, right = self.pads
        return functional.pad(x, (left, right, top, bottom), value=value) if any(self.pads) else x

    @property
    def even(self) -> tuple[int, int] | None:
        """The border where it is the same on opposite sides."""
        top, left, bottom, right = self.pads
        return (top, left) if (top, left) == (bottom, right) else None


class Linear:
    """A convolution [N, C, H, W] or a matrix product [N, n] on steps, and its requantization."""

    def __init__(
        self, weight: Tensor, bias: Tensor, scales: Tensor, x: Affine, y: Affine | None,
        window: Window | None,
    ) -> None:  # fmt: skip
        """weight: steps less their zero point, [O, I, kh, kw] or [O, I]; bias: int32 steps [O];
        scales: of the weights, float32 [O] or [1]; y: None leaves numbers; window: None for a
        matrix product."""
        self.x, self.y, self.window = x, y, window
        reach = max(abs(x.low - x.zero), abs(x.high - x.zero))
        most = (weight.abs().flatten(1).sum(1) * reach + bias.abs()).max()
        self.most = int(most)
        self.wide = torch.float32 if self.most < EXACT else torch.float64
        self.weight, self.bias = weight.to(self.wide), bias.to(self.wide)
        # In float32, in this order: so do both runtimes.
        multiplier = torch.tensor(x.scale, dtype=torch.float32) * scales.to(torch.float32)
        if y is not None:
            multiplier = multiplier / torch.tensor(y.scale, dtype=torch.float32)
        self.multiplier = multiplier.expand(len(bias)).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        total = self.accumulated(x).to(torch.float32)
        multiplier = self.multiplier if self.window is None else self.multiplier[:, None, None]
        made = total * multiplier
        return made if self.y is None else saturated(rounded(made), self.y)

    def accumulated(self, x: Tensor) -> Tensor:
        """The int32 accumulators, bias included."""
        centred = (x - self.x.zero).to(self.wide)
        if self.window is None:
            return functional.linear(centred, self.weight, self.bias)
        w = self.window
        even = w.even
        if even is None:
            centred = w.padded(centred)
        return functional.conv2d(
            centred, self.weight, self.bias, w.stride, even or (0, 0), w.dilation, w.groups
        )


@dataclass(frozen=True)
class MaxPool:
    """Of steps: the order of steps is that of numbers."""

    window: Window

    def __call__(self, x: Tensor) -> Tensor:
        w = self.window
        return functional.max_pool2d(w.padded(x, -torch.inf), w.size, w.stride)


@dataclass(frozen=True)
class Quantize:
    """Numbers to steps."""

    y: Affine

    def __call__(self, x: Tensor) -> Tensor:
        return saturated(rounded(x / torch.tensor(self.y.scale, dtype=torch.float32)), self.y)


@dataclass(frozen=True)
class Dequantize:
    """Steps to numbers."""

    x: Affine

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.x.zero) * self.x.scale


@dataclass(frozen=True)
class ScaledSum:
    """Steps a plus steps b (QLinearAdd), in the float32 of MLAS and in its order."""

    a: Affine
    b: Affine
    y: Affine

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        scales = [torch.tensor(t.scale, dtype=torch.float32) for t in (self.a, self.b, self.y)]
        by_a, by_b = scales[0] / scales[2], scales[1] / scales[2]
        fixed = self.y.zero - (by_a * self.a.zero + by_b * self.b.zero)
        made = (a * by_a + fixed) + b * by_b
        return rounded(made).clamp(self.y.low, self.y.high)


@dataclass(frozen=True)
class FixedSum:
    """Steps a plus steps b as XNNPACK adds them: 21-bit fixed-point factors, halves upwards."""

    a: Affine
    b: Affine
    y: Affine

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        scales = torch.tensor([self.a.scale, self.b.scale, self.y.scale], dtype=torch.float32)
        shares = (scales[:2] / scales[2]).double()
        one = 2.0 ** (20 - torch.floor(torch.log2(shares.max())))
        by_a, by_b = (shares * one).round()
        made = (a.double() - self.a.zero) * by_a + (b.double() - self.b.zero) * by_b
        return saturated(floored(made / one + 0.5), self.y).to(torch.float32)


@dataclass
class Program:
    """Layers in the order in which they run, on tensors by name."""

    input: str = ""
    outputs: list[str] = field(default_factory=list)
    steps: list[tuple[Layer, list[str], str]] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)
    logits: dict[str, tuple[str, Affine | None]] = field(default_factory=dict)
    """By the output of each softmax what it reads, with its quantization where it holds steps."""
    same: dict[str, str] = field(default_factory=dict)
    """Tensors that hold nothing but another one, in other steps or another shape: which."""

    def add(self, layer: Layer, inputs: list[str], output: str, same: bool = False) -> None:
        """One more layer: what it reads, and the tensor that it writes. same: see there."""
        self.steps.append((layer, inputs, output))
        if same or isinstance(layer, Quantize | Dequantize):
            self.same[output] = inputs[0]

    def before_softmax(self, tensor: str) -> tuple[str, Affine | None] | None:
        """What the softmax reads that makes this tensor; None: no softmax does."""
        while tensor not in self.logits and tensor in self.same:
            tensor = self.same[tensor]
        return self.logits.get(tensor)

    def lacking(self) -> list[str]:
        """Tensors that are read before any layer has made them."""
        made = {self.input, *self.constants}
        found = []
        for _, inputs, output in self.steps:
            found += [name for name in inputs if name not in made]
            made.add(output)
        return found + [name for name in self.outputs if name not in made]

    def __call__(self, x: Tensor) -> list[Tensor]:
        """All outputs, in the order of the file."""
        values = self.run(x)
        return [values[name] for name in self.outputs]

    def run(self, x: Tensor) -> dict[str, Tensor]:
        """Every tensor by its name."""
        values = {**self.constants, self.input: x}
        for layer, inputs, output in self.steps:
            values[output] = layer(*(values[name] for name in inputs))
        return values
