# SPDX-License-Identifier: Apache-2.0
"""What an operator takes - grid, tensor, weight, bias - from the values it is given, or a refusal
by name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgeguard.lab.verification.maps import Scale
from edgeguard.lab.verification.net import UNIT, Grid
from edgeguard.lab.verification.read import Reader
from edgeguard.lab.verification.values import Constant, Integers, Pending, Term, Value

RANGES = {"int8": (-128, 127), "uint8": (0, 255)}
SAME_SCALE = 4 * UNIT  # relative: the bias's scale against input scale * weight scale


def scales_of(r: Reader, scale: Value | None) -> npt.NDArray[np.float64]:
    """The scales of a quantizer, of a weight or of a bias."""
    if not isinstance(scale, Constant):
        raise r.refuse("the scale is not a constant of the file (dynamic quantization?)")
    if scale.array.dtype != np.float32:
        raise r.refuse(
            f"the scale is {scale.array.dtype}, and what is multiplied by it is rounded to that; "
            "want float32"
        )
    found = scale.array.astype(np.float64)
    if not np.isfinite(found).all() or not found.all():
        wrong = found[~np.isfinite(found) | (found == 0)].flat[0]
        raise r.refuse(
            f"a scale is {wrong}, which no integers can be counted in; quantize it anew, a channel "
            "of zeros with any positive scale"
        )
    return found


def grid_of(r: Reader, scale: Value | None, zero: Value | None, kind: str = "uint8") -> Grid:
    """The grid of a quantizer; one scale per tensor. kind: its type without a zero point."""
    value = scales_of(r, scale)
    if value.size != 1:
        raise r.refuse("activations need one scale per tensor, this has one per channel")
    if value.item() < 0:
        raise r.refuse(f"scale {value.item()} is not a positive number")
    kind = zero.array.dtype.name if isinstance(zero, Constant) else kind
    if kind not in RANGES:
        raise r.refuse(f"activations of type {kind}; known: {', '.join(RANGES)}")
    at = int(zero.array.item()) if isinstance(zero, Constant) else 0
    return Grid(float(value.item()), at, *RANGES[kind])


def integers_of(r: Reader, value: Value | None, what: str) -> Integers:
    if isinstance(value, Pending):
        raise r.refuse(f"{what} is a float that no quantizer follows; quantize this operator too")
    if not isinstance(value, Integers) or r.input is None:
        raise r.refuse(f"{what} is not a quantized tensor; the file is not int8 there")
    return value


def floats_of(r: Reader, value: Value | None, what: str) -> Integers:
    """A dequantized tensor: what operators on real numbers take."""
    x = integers_of(r, value, what)
    if not x.real or x.scale == 0.0:
        raise r.refuse(f"{what} is not dequantized; want a DequantizeLinear between")
    return x


def pending_of(r: Reader, value: Value | None, what: str = "the input") -> Pending:
    """Any tensor as a linear function, to be clipped or rounded."""
    if isinstance(value, Pending):
        return value
    source = floats_of(r, value, what)
    zeros = torch.zeros(r.shape(source.number), dtype=torch.float64)
    return Pending((Term(source, lambda step: Scale(source.scale / step)),), zeros)


def weight_of(r: Reader, value: Value | None) -> Constant:
    if not isinstance(value, Constant) or value.scale is None:
        raise r.refuse("the weight is not quantized (QuantizeLinear or DequantizeLinear missing)")
    return value


def parts_of(r: Reader, weight: Constant, outputs: int, axis: int) -> tuple[Tensor, Tensor]:
    """Integers less their zero points, and one scale per output."""
    assert weight.scale is not None and weight.zero is not None
    if weight.scale.size > 1 and weight.axis % weight.array.ndim != axis:
        raise r.refuse(
            f"the weight has its scales along axis {weight.axis}; want axis {axis}, its outputs"
        )
    whole = torch.from_numpy(weight.array.astype(np.float64) - weight._along(weight.zero))
    return whole, torch.from_numpy(np.broadcast_to(weight.scale.reshape(-1), outputs).copy())


def bias_of(r: Reader, value: Value | None, scales: Tensor) -> Tensor:
    """Real bias [O] in the units that the integer sum has."""
    if value is None:
        return torch.zeros_like(scales)
    if not isinstance(value, Constant):
        raise r.refuse("the bias is not a constant")
    if value.scale is None and value.array.dtype == np.int32:  # QLinearConv
        return torch.from_numpy(value.array.astype(np.float64)) * scales
    if value.scale is not None:
        away = np.abs(value.scale.reshape(-1) / scales.numpy() - 1).max()
        if away > SAME_SCALE:
            raise r.refuse("the bias has another scale than input scale * weight scale")
        if np.any(value.zero):
            raise r.refuse("the bias has a zero point; want 0")
    return torch.from_numpy(value.real().reshape(-1)).expand(len(scales))


def biased(r: Reader, term: Term, bias: Tensor, value: Value | None) -> Pending:
    """A linear operator and its bias [*shape], which was made of ``value``."""
    loose = isinstance(value, Constant) and value.scale is None and value.array.dtype != np.int32
    return Pending((term,), bias, float_bias=r.node.removesuffix(": ") if loose else "")
