# SPDX-License-Identifier: Apache-2.0
"""Sums of two int8 tensors as the kernels of ONNX Runtime for several processors make them, against
the error that the bounds allow for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab needs it")

import torch

from edgeguard.lab.verification.maps import Scale
from edgeguard.lab.verification.net import Grid, Operand, Steps

F32 = np.float32
Kernel = Callable[[Steps, list[float]], float]


def add(ratios: tuple[float, float], zeros: tuple[int, int], zero: int) -> Steps:
    """The sum of two values of one element, its ratios float32 numbers."""
    maps = tuple(Scale(float(F32(r))) for r in ratios)
    shift = sum(one.factor * z for one, z in zip(maps, zeros, strict=True))
    constant, bias = (torch.tensor([v], dtype=torch.float64) for v in (zero - shift, 0.0))
    exact, grid = torch.zeros((), dtype=torch.float64), Grid(1.0, zero, -128, 127)
    return Steps((0, 1), maps, constant, bias, zeros, exact, grid, -128, 127, "")


def fixed_point(layer: Steps, q: list[float]) -> float:
    """ARM: whole multipliers, the larger one of 22 bits."""
    ratios = [one.factor for one in layer.maps]  # type: ignore[attr-defined]
    shift = 21 - (math.frexp(max(ratios))[1] - 1)
    whole = [round(ratio * 2.0**shift) for ratio in ratios]
    total = sum(m * (x - z) for m, x, z in zip(whole, q, layer.zeros, strict=True))
    return total * 2.0**-shift + layer.grid.zero


def zeros_first(layer: Steps, q: list[float]) -> float:
    """x86-64 without fused operations: all zero points first, in float32."""
    a, b = (F32(one.factor) for one in layer.maps)  # type: ignore[attr-defined]
    za, zb = (F32(z) for z in layer.zeros)
    fixed = F32(layer.grid.zero) - (a * za + b * zb)
    return float(fixed + a * F32(q[0]) + b * F32(q[1]))


def away(kernel: Kernel, layer: Steps, q: list[float]) -> tuple[float, float]:
    """How far the kernel is from p, and the error that is allowed for."""
    point = [torch.tensor([[x]], dtype=torch.float64) for x in q]
    return abs(kernel(layer, q) - float(layer.before(point))), float(layer.error(point, point))


def test_a_small_ratio_beside_a_large_one_is_paid_for() -> None:
    between = 209715.5 * 2.0**-21  # half way between two multipliers
    off, allowed = away(fixed_point, add((1.5, between), (3, -128), 5), [3.0, 127.0])
    assert 6e-5 < off <= allowed < 1e-3


def test_large_zero_points_are_paid_for_where_the_sum_itself_is_zero() -> None:
    off, allowed = away(zeros_first, add((1.7, 1.3), (-128, -127), -77), [-128.0, -127.0])
    assert 0 < off <= allowed < 1e-3


@pytest.mark.parametrize("kernel", [fixed_point, zeros_first])
def test_no_sum_is_further_away_than_its_error(kernel: Kernel) -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        ratios = tuple(np.exp(rng.uniform(np.log(1e-3), np.log(50), 2)).tolist())
        numbers = [int(v) for v in rng.integers(-128, 128, 5)]
        layer = add(ratios, (numbers[0], numbers[1]), numbers[2])
        off, allowed = away(kernel, layer, [float(v) for v in numbers[3:]])
        assert off <= allowed


def test_a_quantized_constant_is_paid_for_as_the_tensor_that_it_is() -> None:
    both = add((1.5, 209715.5 * 2.0**-21), (3, -128), 5)
    first, other = both.maps
    whole, point = torch.tensor([[127.0]]).double(), torch.tensor([[3.0]]).double()
    alone = replace(
        both, inputs=(0,), maps=(first,), zeros=(3,), constant=both.constant + other.apply(whole),
        bias=both.bias + other.apply(whole + 128),
        operand=Operand(whole, -128, other.factor),  # type: ignore[attr-defined]
    )  # fmt: skip
    off, allowed = away(fixed_point, both, [3.0, 127.0])
    paid = float(alone.error([point], [point]).max())
    assert off <= paid and paid == pytest.approx(allowed, rel=1e-2)
    assert float(replace(alone, operand=None).error([point], [point]).max()) < off
