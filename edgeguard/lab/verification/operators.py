# SPDX-License-Identifier: Apache-2.0
"""One function for each ONNX operator that the verifier knows: values in, value out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from edgeguard.lab.verification.maps import Conv, Dense, Scale, Shape, average
from edgeguard.lab.verification.net import UNIT, Grid
from edgeguard.lab.verification.read import Reader
from edgeguard.lab.verification.values import Constant, Ends, Integers, Pending, Term, Value

Inputs = list[Value | None]
Attributes = dict[str, Any]
Handler = Callable[[Reader, Inputs, Attributes], Value]
RANGES = {"int8": (-128, 127), "uint8": (0, 255)}
SAME_SCALE = 4 * UNIT  # relative: the bias's scale against input scale * weight scale


def _scalar_grid(r: Reader, scale: Value | None, zero: Value | None) -> Grid:
    """The grid of a quantizer; one scale per tensor."""
    if not isinstance(scale, Constant):
        raise r.refuse("the scale is not a constant of the file (dynamic quantization?)")
    value = np.asarray(scale.array, np.float64)
    if value.size != 1:
        raise r.refuse("activations need one scale per tensor, this has one per channel")
    if not (math.isfinite(value.item()) and value.item() > 0):
        raise r.refuse(f"scale {value.item()} is not a positive number")
    kind = zero.array.dtype.name if isinstance(zero, Constant) else "uint8"
    if kind not in RANGES:
        raise r.refuse(f"activations of type {kind}; known: {', '.join(RANGES)}")
    at = int(zero.array.item()) if isinstance(zero, Constant) else 0
    return Grid(float(value.item()), at, *RANGES[kind])


def _integers(r: Reader, value: Value | None, what: str) -> Integers:
    if isinstance(value, Pending):
        raise r.refuse(f"{what} is a float that no quantizer follows; quantize this operator too")
    if not isinstance(value, Integers) or r.input is None:
        raise r.refuse(f"{what} is not a quantized tensor; the file is not int8 there")
    return value


def _floats(r: Reader, value: Value | None, what: str) -> Integers:
    """A dequantized tensor: what operators on real numbers take."""
    x = _integers(r, value, what)
    if not x.real or x.scale == 0.0:
        raise r.refuse(f"{what} is not dequantized; want a DequantizeLinear between")
    return x


def _pending(r: Reader, value: Value | None, what: str = "the input") -> Pending:
    """Any tensor as a linear function, to be clipped or rounded."""
    if isinstance(value, Pending):
        return value
    source = _floats(r, value, what)
    zeros = torch.zeros(r.shape(source.number), dtype=torch.float64)
    return Pending((Term(source, lambda step: Scale(source.scale / step)),), zeros)


def _quantize(r: Reader, i: Inputs, a: Attributes) -> Value:
    grid = _scalar_grid(r, i[1], i[2] if len(i) > 2 else None)
    x = i[0]
    if isinstance(x, Integers) and x.number == 0 and x.scale == 0.0:  # the float input itself
        if r.input not in (None, grid):
            raise r.refuse("the input is quantized twice, on other grids; quantize it once")
        r.input = grid
        return Integers(0, grid.scale, grid.zero, real=False)
    if isinstance(x, Integers) and r.input is not None:
        own = r.grid(x.number)
        if (x.scale, x.zero, own.low, own.high) == (grid.scale, grid.zero, grid.low, grid.high):
            return Integers(x.number, x.scale, x.zero, real=False)
    if isinstance(x, Constant):
        return Constant(grid.steps(torch.from_numpy(x.real())).numpy(), np.array(grid.scale),
                        np.array(grid.zero))  # fmt: skip
    return r.quantize(_pending(r, x), grid)


def _dequantize(r: Reader, i: Inputs, a: Attributes) -> Value:
    x = i[0]
    if isinstance(x, Constant):
        scale = cast(Constant, i[1]).array.astype(np.float64)
        zero = cast(Constant, i[2]).array.astype(np.int64) if len(i) > 2 and i[2] else 0
        return Constant(x.array, scale, np.broadcast_to(zero, scale.shape), a.get("axis", 1))
    return _dequantized(r, i, 0, "the input")


def _dequantized(r: Reader, i: Inputs, at: int, what: str) -> Integers:
    """Tensor, scale and zero point from ``at`` on; of an integer input they are its grid."""
    grid = _scalar_grid(r, i[at + 1], i[at + 2] if len(i) > at + 2 else None)
    x = _integers(r, i[at], what)
    if x.number == 0 and x.scale == 0.0 and r.input is not None:
        r.input = Grid(grid.scale, grid.zero, r.input.low, r.input.high)
    return Integers(x.number, grid.scale, grid.zero, real=True)


def _weight(r: Reader, value: Value | None) -> Constant:
    if not isinstance(value, Constant) or value.scale is None:
        raise r.refuse("the weight is not quantized (QuantizeLinear or DequantizeLinear missing)")
    return value


def _parts(r: Reader, weight: Constant, outputs: int, axis: int) -> tuple[Tensor, Tensor]:
    """Integers less their zero points, and one scale per output."""
    assert weight.scale is not None and weight.zero is not None
    if weight.scale.size > 1 and weight.axis % weight.array.ndim != axis:
        raise r.refuse(
            f"the weight has its scales along axis {weight.axis}; want axis {axis}, its outputs"
        )
    whole = torch.from_numpy(weight.array.astype(np.float64) - weight._along(weight.zero))
    return whole, torch.from_numpy(np.broadcast_to(weight.scale.reshape(-1), outputs).copy())


def _bias(r: Reader, value: Value | None, scales: Tensor) -> Tensor:
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
    return torch.from_numpy(value.real().reshape(-1)).expand(len(scales))


def _conv(r: Reader, i: Inputs, a: Attributes) -> Value:
    x, weight = _floats(r, i[0], "the input"), _weight(r, i[1])
    if a.get("auto_pad", b"NOTSET") != b"NOTSET" or weight.array.ndim != 4:
        raise r.refuse("only two-dimensional Conv with explicit pads is known")
    outputs = weight.array.shape[0]
    whole, scales = _parts(r, weight, outputs, 0)
    pads, stride = tuple(a.get("pads", (0, 0, 0, 0))), tuple(a.get("strides", (1, 1)))
    dilation, groups, inside = (
        tuple(a.get("dilations", (1, 1))),
        a.get("group", 1),
        r.shape(x.number),
    )

    def at(step: float) -> Conv:
        gain = (scales * x.scale / step).view(-1, 1, 1)
        return Conv(whole, gain, inside, stride, pads, dilation, groups)  # type: ignore[arg-type]

    size = at(1.0).apply(torch.zeros(1, *inside, dtype=torch.float64)).shape[1:]
    bias = _bias(r, i[2] if len(i) > 2 else None, scales * x.scale)
    return Pending((Term(x, at, scales * x.scale),), bias.view(-1, 1, 1).expand(size).clone())


def _dense(r: Reader, x: Integers, weight: Constant, bias: Value | None, over: bool) -> Pending:
    """A matrix product; over: the weight is [I, O]."""
    if len(r.shape(x.number)) != 1:
        raise r.refuse(f"reads a tensor of shape {r.shape(x.number)}; want a vector (Flatten)")
    outputs = weight.array.shape[1 if over else 0]
    whole, scales = _parts(r, weight, outputs, 1 if over else 0)
    whole = whole.T.contiguous() if over else whole
    constant = _bias(r, bias, scales * x.scale).clone()
    term = Term(x, lambda step: Dense(whole, scales * x.scale / step), scales * x.scale)
    return Pending((term,), constant)


def _gemm(r: Reader, i: Inputs, a: Attributes) -> Value:
    if a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0 or a.get("transA", 0):
        raise r.refuse("Gemm with alpha, beta or transA is not known")
    bias = i[2] if len(i) > 2 else None
    over = not a.get("transB", 0)
    return _dense(r, _floats(r, i[0], "the input"), _weight(r, i[1]), bias, over)


def _matmul(r: Reader, i: Inputs, a: Attributes) -> Value:
    return _dense(r, _floats(r, i[0], "the input"), _weight(r, i[1]), None, over=True)


def _add(r: Reader, i: Inputs, a: Attributes) -> Value:
    if isinstance(i[0], Constant):
        i = [i[1], i[0]]
    first = _pending(r, i[0]) if isinstance(i[1], Constant) else None
    if first is not None:
        if first.ends != Ends() or first.then is not None:
            raise r.refuse("Add of a constant behind a Relu, Clip or Reshape is not known")
        number = torch.from_numpy(np.asarray(cast(Constant, i[1]).real()))
        number = number.reshape(number.shape[1:]) if number.dim() > len(first.shape) else number
        return Pending(first.terms, first.constant + number)
    one, other = (_floats(r, v, "an input of Add") for v in i)
    if r.shape(one.number) != r.shape(other.number):
        raise r.refuse("Add that repeats one of its inputs is not known")
    terms = tuple(Term(s, lambda step, s=s: Scale(s.scale / step)) for s in (one, other))  # type: ignore[misc]
    return Pending(terms, torch.zeros(r.shape(one.number), dtype=torch.float64))


def _clip(low: float, high: float) -> Handler:
    return lambda r, i, a: _pending(r, i[0]).clipped(low, high)


def _clip_ends(r: Reader, i: Inputs, a: Attributes) -> Value:
    ends = [a.get("min", -math.inf), a.get("max", math.inf)]
    for k, value in enumerate(i[1:3]):
        if isinstance(value, Constant):
            ends[k] = float(value.real().item())
        elif value is not None:
            raise r.refuse("the ends of Clip are not constants")
    return _pending(r, i[0]).clipped(*ends)


def _max_pool(r: Reader, i: Inputs, a: Attributes) -> Value:
    return r.max_pool(_integers(r, i[0], "the input"), a)


def _pool(r: Reader, x: Integers, kernel: tuple[int, int], stride: tuple[int, int]) -> Pending:
    inside = r.shape(x.number)
    size = average(inside, kernel, stride, 1.0).apply(torch.zeros(1, *inside, dtype=torch.float64))[
        0
    ]
    return Pending((Term(x, lambda step: average(inside, kernel, stride, x.scale / step)),), size)


def _average_pool(r: Reader, i: Inputs, a: Attributes) -> Value:
    if a.get("ceil_mode") or any(a.get("pads", ())) or any(d != 1 for d in a.get("dilations", ())):
        raise r.refuse("AveragePool with ceil_mode, pads or dilations is not known")
    kernel, stride = tuple(a["kernel_shape"]), tuple(a.get("strides", (1, 1)))
    return _pool(r, _floats(r, i[0], "the input"), kernel, stride)  # type: ignore[arg-type]


def _global_average(r: Reader, i: Inputs, a: Attributes) -> Value:
    x = _floats(r, i[0], "the input")
    height, width = r.shape(x.number)[1:]
    return _pool(r, x, (height, width), (height, width))


def _reduce_mean(r: Reader, i: Inputs, a: Attributes) -> Value:
    axes = a.get("axes")
    if axes is None and len(i) > 1 and isinstance(i[1], Constant):
        axes = i[1].array.tolist()
    x = _integers(r, i[0], "the input")
    if len(r.shape(x.number)) != 3 or sorted(v % 4 for v in axes or ()) != [2, 3]:
        raise r.refuse("ReduceMean is known over height and width only")
    pooled = _global_average(r, i, a)
    return pooled if a.get("keepdims", 1) else _shaped(r, pooled, (r.shape(x.number)[0],))


def _shaped(r: Reader, value: Value | None, shape: Shape) -> Value:
    if isinstance(value, Pending):
        return Pending(value.terms, value.constant, value.ends, shape)
    return r.reshape(_integers(r, value, "the input"), shape)


def _size(r: Reader, value: Value | None) -> Shape:
    if isinstance(value, Pending):
        return value.then or value.shape
    return r.shape(_integers(r, value, "the input").number)


def _flatten(r: Reader, i: Inputs, a: Attributes) -> Value:
    if a.get("axis", 1) != 1:
        raise r.refuse("Flatten is known with axis 1 only")
    return _shaped(r, i[0], (math.prod(_size(r, i[0])),))


def _reshape(r: Reader, i: Inputs, a: Attributes) -> Value:
    if not isinstance(i[1], Constant):
        raise r.refuse("the shape is not a constant of the file")
    wanted = [int(v) for v in i[1].array.tolist()]
    old = _size(r, i[0])
    if wanted[0] not in (0, 1, -1) or 0 in wanted[1:]:
        raise r.refuse(f"Reshape to {wanted} would mix the batch with the values")
    rest = wanted[1:]
    if -1 in rest:
        rest[rest.index(-1)] = math.prod(old) // -math.prod(rest)
    if math.prod(rest) != math.prod(old):
        raise r.refuse(f"Reshape of {list(old)} to {wanted} would mix the batch with the values")
    return _shaped(r, i[0], tuple(rest))


def _same(r: Reader, i: Inputs, a: Attributes) -> Value:
    return cast(Value, i[0])


def _constant(r: Reader, i: Inputs, a: Attributes) -> Value:
    from onnx import numpy_helper

    if "value" in a:
        return Constant(numpy_helper.to_array(a["value"]))
    return Constant(np.asarray(next(iter(a.values()))))


def _quantized_weight(r: Reader, i: Inputs, at: int, axis: int) -> Constant:
    weight, scale, zero = i[at : at + 3]
    if not all(isinstance(v, Constant) for v in (weight, scale, zero)):
        raise r.refuse("weight, scale and zero point must be constants of the file")
    scales = cast(Constant, scale).array.astype(np.float64)
    zeros = np.broadcast_to(cast(Constant, zero).array.astype(np.int64), scales.shape)
    return Constant(cast(Constant, weight).array, scales, zeros, axis)


def _qlinear_conv(r: Reader, i: Inputs, a: Attributes) -> Value:
    inputs: Inputs = [_dequantized(r, i, 0, "the input"), _quantized_weight(r, i, 3, 0)]
    pending = _conv(r, inputs + list(i[8:9]), a)
    return r.quantize(_pending(r, pending), _scalar_grid(r, i[6], i[7]))


def _qgemm(r: Reader, i: Inputs, a: Attributes) -> Value:
    over = not a.get("transB", 0)
    inputs: Inputs = [_dequantized(r, i, 0, "the input"), _quantized_weight(r, i, 3, int(over))]
    pending = _pending(r, _gemm(r, inputs + list(i[6:7]), a))
    if len(i) < 9:
        return pending
    return r.quantize(pending, _scalar_grid(r, i[7], i[8]))


def _qlinear_matmul(r: Reader, i: Inputs, a: Attributes) -> Value:
    inputs: Inputs = [_dequantized(r, i, 0, "the input"), _quantized_weight(r, i, 3, 1)]
    return r.quantize(_pending(r, _matmul(r, inputs, a)), _scalar_grid(r, i[6], i[7]))


def _qlinear_add(r: Reader, i: Inputs, a: Attributes) -> Value:
    if isinstance(i[0], Constant) or isinstance(i[3], Constant):
        raise r.refuse("QLinearAdd of a constant is not known")
    both: Inputs = [_dequantized(r, i, 0, "an input"), _dequantized(r, i, 3, "an input")]
    return r.quantize(_pending(r, _add(r, both, a)), _scalar_grid(r, i[6], i[7]))


def _qlinear_pool(handler: Handler) -> Handler:
    def pool(r: Reader, i: Inputs, a: Attributes) -> Value:
        if a.get("channels_last"):
            raise r.refuse("channels_last is not known")
        pending = _pending(r, handler(r, [_dequantized(r, i, 0, "the input")], a))
        return r.quantize(pending, _scalar_grid(r, i[3], i[4]))

    return pool


HANDLERS: dict[str, Handler] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Relu": _clip(0.0, math.inf),
    "Clip": _clip_ends,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "ReduceMean": _reduce_mean,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Identity": _same,
    "Dropout": _same,
    "Constant": _constant,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QGemm": _qgemm,
    "QLinearAdd": _qlinear_add,
    "QLinearAveragePool": _qlinear_pool(_average_pool),
    "QLinearGlobalAveragePool": _qlinear_pool(_global_average),
}
