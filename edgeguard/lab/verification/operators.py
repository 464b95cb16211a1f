# SPDX-License-Identifier: Apache-2.0
"""One function for each ONNX operator that the verifier knows: values in, value out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from onnx import TensorProto

from edgeguard.lab.verification.maps import Conv, Dense, Scale, Shape, average
from edgeguard.lab.verification.net import Grid
from edgeguard.lab.verification.operands import (
    bias_of,
    biased,
    floats_of,
    grid_of,
    integers_of,
    parts_of,
    pending_of,
    scales_of,
    weight_of,
)
from edgeguard.lab.verification.read import Reader
from edgeguard.lab.verification.values import Constant, Ends, Integers, Pending, Term, Value

Inputs = list[Value | None]
Attributes = dict[str, Any]
Handler = Callable[[Reader, Inputs, Attributes], Value]


def _kind(r: Reader, zero: Value | None, a: Attributes) -> str:
    """The type that QuantizeLinear makes: that of its zero point, or what it names itself."""
    types: dict[int, str] = {number: name.lower() for name, number in TensorProto.DataType.items()}
    named = types.get(a.get("output_dtype", 0), "unknown")
    own = str(zero.array.dtype) if isinstance(zero, Constant) else "uint8"
    if named == "undefined":
        return own
    if isinstance(zero, Constant) and named != own:
        raise r.refuse(f"output_dtype is {named}, its zero point is {own}")
    return named


def _quantize(r: Reader, i: Inputs, a: Attributes) -> Value:
    zero = i[2] if len(i) > 2 else None
    grid = grid_of(r, i[1], zero, _kind(r, zero, a))
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
    return r.quantize(_once(r, pending_of(r, x), grid), grid)


def _once(r: Reader, p: Pending, grid: Grid) -> Pending:
    """p, unless it is only what another quantizer made: ONNX Runtime leaves out the first of two
    quantizers in a row, and a Relu or Clip between them that changes nothing."""
    between = p.ends.on(grid) != (grid.low, grid.high) or bool(p.constant.any())
    if between or len(p.terms) > 1 or not isinstance(p.terms[0].at(1.0), Scale):
        return p
    if r.was_rounded(p.terms[0].source, grid):
        raise r.refuse(
            "quantizes on another grid what a quantizer has just made, and ONNX Runtime leaves "
            "one of the two out; give both the same scale and zero point, or remove one"
        )
    return p


def _dequantize(r: Reader, i: Inputs, a: Attributes) -> Value:
    x = i[0]
    if isinstance(x, Constant):
        scale = scales_of(r, i[1])
        zero = cast(Constant, i[2]).array.astype(np.int64) if len(i) > 2 and i[2] else 0
        return Constant(x.array, scale, np.broadcast_to(zero, scale.shape), a.get("axis", 1))
    return _dequantized(r, i, 0, "the input")


def _dequantized(r: Reader, i: Inputs, at: int, what: str) -> Integers:
    """Tensor, scale and zero point from ``at`` on; of an integer input they are its grid."""
    grid = grid_of(r, i[at + 1], i[at + 2] if len(i) > at + 2 else None)
    x = integers_of(r, i[at], what)
    if x.number == 0 and x.scale == 0.0 and r.input is not None:
        r.input = Grid(grid.scale, grid.zero, r.input.low, r.input.high)
    return Integers(x.number, grid.scale, grid.zero, real=True)


def _no_auto_pad(r: Reader, a: Attributes) -> None:
    if a.get("auto_pad", b"NOTSET") not in (b"", b"NOTSET"):
        raise r.refuse(f"auto_pad {a['auto_pad'].decode()} is not known; export explicit pads")


def _conv(r: Reader, i: Inputs, a: Attributes) -> Value:
    x, weight = floats_of(r, i[0], "the input"), weight_of(r, i[1])
    _no_auto_pad(r, a)
    if weight.array.ndim != 4:
        raise r.refuse("only two-dimensional Conv is known")
    outputs = weight.array.shape[0]
    whole, scales = parts_of(r, weight, outputs, 0)
    pads, stride = tuple(a.get("pads", (0, 0, 0, 0))), tuple(a.get("strides", (1, 1)))
    dilation, groups, inside = (
        tuple(a.get("dilations", (1, 1))),
        a.get("group", 1),
        r.image(x),
    )

    def at(step: float) -> Conv:
        gain = (scales * x.scale / step).view(-1, 1, 1)
        return Conv(whole, gain, inside, stride, pads, dilation, groups)  # type: ignore[arg-type]

    size = at(1.0).apply(torch.zeros(1, *inside, dtype=torch.float64)).shape[1:]
    value = i[2] if len(i) > 2 else None
    bias = bias_of(r, value, scales * x.scale).view(-1, 1, 1).expand(size).clone()
    return biased(r, Term(x, at, scales * x.scale), bias, value)


def _dense(r: Reader, x: Integers, weight: Constant, bias: Value | None, over: bool) -> Pending:
    """A matrix product; over: the weight is [I, O]."""
    if len(r.shape(x.number)) != 1:
        raise r.refuse(f"reads a tensor of shape {r.shape(x.number)}; want a vector (Flatten)")
    outputs = weight.array.shape[1 if over else 0]
    whole, scales = parts_of(r, weight, outputs, 1 if over else 0)
    whole = whole.T.contiguous() if over else whole
    constant = bias_of(r, bias, scales * x.scale).clone()
    term = Term(x, lambda step: Dense(whole, scales * x.scale / step), scales * x.scale)
    made = r.now if r.now.op_type in ("MatMul", "Gemm") else None  # QGemm: in integers, always
    return replace(biased(r, term, constant, bias), product=made)


def _gemm(r: Reader, i: Inputs, a: Attributes) -> Value:
    if a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0 or a.get("transA", 0):
        raise r.refuse("Gemm with alpha, beta or transA is not known")
    bias = i[2] if len(i) > 2 else None
    over = not a.get("transB", 0)
    return _dense(r, floats_of(r, i[0], "the input"), weight_of(r, i[1]), bias, over)


def _matmul(r: Reader, i: Inputs, a: Attributes) -> Value:
    return _dense(r, floats_of(r, i[0], "the input"), weight_of(r, i[1]), None, over=True)


def _add(r: Reader, i: Inputs, a: Attributes) -> Value:
    if isinstance(i[0], Constant):
        i = [i[1], i[0]]
    if isinstance(i[1], Constant):
        return _plus(r, pending_of(r, i[0]), i[1])
    one, other = (floats_of(r, v, "an input of Add") for v in i)
    if r.shape(one.number) != r.shape(other.number):
        raise r.refuse("Add that repeats one of its inputs is not known")
    terms = tuple(Term(s, lambda step, s=s: Scale(s.scale / step)) for s in (one, other))  # type: ignore[misc]
    return Pending(terms, torch.zeros(r.shape(one.number), dtype=torch.float64))


def _plus(r: Reader, first: Pending, value: Constant) -> Pending:
    """A tensor and a constant; behind a MatMul it is what the bias of a Gemm is."""
    if first.ends != Ends() or first.then is not None:
        raise r.refuse("Add of a constant behind a Relu, Clip or Reshape is not known")
    if bool(first.constant.any()):
        raise r.refuse("Add of a second constant is not known; write their sum")
    scales = first.terms[0].scales
    if scales is not None and len(first.shape) == 1:
        sum_ = biased(r, first.terms[0], bias_of(r, value, scales).clone(), value)
        return replace(sum_, product=first.product)
    if scales is not None:
        raise r.refuse("Add of a constant behind a Conv is not known; make it the Conv's bias")
    if value.scale is not None and value.scale.size != 1:
        raise r.refuse("a quantized constant in an Add needs one scale, this has one per channel")
    if value.array.ndim > len(first.shape) and len(value.array) == 1:
        value = replace(value, array=value.array[0])
    number = torch.from_numpy(value.real())
    ends = zip(reversed(number.shape), reversed(first.shape), strict=False)
    if number.dim() > len(first.shape) or any(own not in (1, size) for own, size in ends):
        raise r.refuse(f"adds a constant of shape {list(number.shape)} to {list(first.shape)}")
    kernel = value.scale is not None and isinstance(first.terms[0].at(1.0), Scale)
    return replace(first, constant=first.constant + number, operand=value if kernel else None)


def _clip(low: float, high: float) -> Handler:
    return lambda r, i, a: pending_of(r, i[0]).clipped(low, high)


def _clip_ends(r: Reader, i: Inputs, a: Attributes) -> Value:
    ends = [a.get("min", -math.inf), a.get("max", math.inf)]
    for k, value in enumerate(i[1:3]):
        if isinstance(value, Constant):
            ends[k] = float(value.real().item())
        elif value is not None:
            raise r.refuse("the ends of Clip are not constants")
    return pending_of(r, i[0]).clipped(*ends)


def _max_pool(r: Reader, i: Inputs, a: Attributes) -> Value:
    _no_auto_pad(r, a)
    return r.max_pool(integers_of(r, i[0], "the input"), a)


def _pool(r: Reader, x: Integers, kernel: tuple[int, int], stride: tuple[int, int]) -> Pending:
    inside = r.image(x)
    size = average(inside, kernel, stride, 1.0).apply(torch.zeros(1, *inside, dtype=torch.float64))[
        0
    ]
    return Pending((Term(x, lambda step: average(inside, kernel, stride, x.scale / step)),), size)


def _average_pool(r: Reader, i: Inputs, a: Attributes) -> Value:
    _no_auto_pad(r, a)
    if a.get("ceil_mode") or any(a.get("pads", ())) or any(d != 1 for d in a.get("dilations", ())):
        raise r.refuse("AveragePool with ceil_mode, pads or dilations is not known")
    kernel, stride = tuple(a["kernel_shape"]), tuple(a.get("strides", (1, 1)))
    return _pool(r, floats_of(r, i[0], "the input"), kernel, stride)  # type: ignore[arg-type]


def _global_average(r: Reader, i: Inputs, a: Attributes) -> Value:
    x = floats_of(r, i[0], "the input")
    _, height, width = r.image(x)
    return _pool(r, x, (height, width), (height, width))


def _reduce_mean(r: Reader, i: Inputs, a: Attributes) -> Value:
    axes = a.get("axes")
    if axes is None and len(i) > 1 and isinstance(i[1], Constant):
        axes = i[1].array.tolist()
    x = integers_of(r, i[0], "the input")
    if len(r.shape(x.number)) != 3 or sorted(v % 4 for v in axes or ()) != [2, 3]:
        raise r.refuse("ReduceMean is known over height and width only")
    pooled = _global_average(r, i, a)
    return pooled if a.get("keepdims", 1) else _shaped(r, pooled, (r.shape(x.number)[0],))


def _shaped(r: Reader, value: Value | None, shape: Shape) -> Value:
    if isinstance(value, Pending):
        return replace(value, then=shape)
    return r.reshape(integers_of(r, value, "the input"), shape)


def _size(r: Reader, value: Value | None) -> Shape:
    if isinstance(value, Pending):
        return value.then or value.shape
    return r.shape(integers_of(r, value, "the input").number)


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
    scales = scales_of(r, scale)
    zeros = np.broadcast_to(cast(Constant, zero).array.astype(np.int64), scales.shape)
    return Constant(cast(Constant, weight).array, scales, zeros, axis)


def _qlinear_conv(r: Reader, i: Inputs, a: Attributes) -> Value:
    inputs: Inputs = [_dequantized(r, i, 0, "the input"), _quantized_weight(r, i, 3, 0)]
    pending = _conv(r, inputs + list(i[8:9]), a)
    return r.quantize(pending_of(r, pending), grid_of(r, i[6], i[7]))


def _qgemm(r: Reader, i: Inputs, a: Attributes) -> Value:
    over = not a.get("transB", 0)
    inputs: Inputs = [_dequantized(r, i, 0, "the input"), _quantized_weight(r, i, 3, int(over))]
    pending = pending_of(r, _gemm(r, inputs + list(i[6:7]), a))
    if len(i) < 9:
        return pending
    return r.quantize(pending, grid_of(r, i[7], i[8]))


def _qlinear_matmul(r: Reader, i: Inputs, a: Attributes) -> Value:
    inputs: Inputs = [_dequantized(r, i, 0, "the input"), _quantized_weight(r, i, 3, 1)]
    return r.quantize(pending_of(r, _matmul(r, inputs, a)), grid_of(r, i[6], i[7]))


def _qlinear_add(r: Reader, i: Inputs, a: Attributes) -> Value:
    if isinstance(i[0], Constant) or isinstance(i[3], Constant):
        raise r.refuse("QLinearAdd of a constant is not known")
    both: Inputs = [_dequantized(r, i, 0, "an input"), _dequantized(r, i, 3, "an input")]
    return r.quantize(pending_of(r, _add(r, both, a)), grid_of(r, i[6], i[7]))


def _qlinear_pool(handler: Handler) -> Handler:
    def pool(r: Reader, i: Inputs, a: Attributes) -> Value:
        if a.get("channels_last"):
            raise r.refuse("channels_last is not known")
        pending = pending_of(r, handler(r, [_dequantized(r, i, 0, "the input")], a))
        return r.quantize(pending, grid_of(r, i[3], i[4]))

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
