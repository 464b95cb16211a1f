# SPDX-License-Identifier: Apache-2.0
"""A quantized ONNX file (QDQ, or QLinear operators) as layers of `surrogate_layers`.

A Conv, Gemm or MatMul between DequantizeLinear and QuantizeLinear is one integer layer, but for
those that ONNX Runtime does not fuse (`surrogate_float`); whatever else stands there runs on
numbers, as it does in ONNX Runtime.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from edgeguard.errors import ModelRefused
from edgeguard.lab.surrogate_float import INTEGERS_ONLY, NumberLinear
from edgeguard.lab.surrogate_layers import (
    Affine,
    Dequantize,
    Linear,
    MaxPool,
    Program,
    Quantize,
    ScaledSum,
    Window,
)

Array = npt.NDArray[Any]
Attributes = dict[str, Any]
RANGE = {"int8": (-128, 127), "uint8": (0, 255)}


@dataclass(frozen=True)
class _Weights:
    """Constants that a DequantizeLinear, or a QLinear operator, reads: steps less their zero."""

    steps: Array
    scales: Array

    def numbers(self) -> Tensor:
        """float32; the scales go with the first axis."""
        scales = self.scales.astype(np.float32).reshape(-1, *([1] * (self.steps.ndim - 1)))
        return torch.from_numpy(self.steps.astype(np.float32) * scales)


@dataclass
class _Reader:
    where: str
    constants: dict[str, Array] = field(default_factory=dict)
    consumers: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    held: dict[str, tuple[str, Affine]] = field(default_factory=dict)
    """A tensor of numbers that is nothing but dequantized steps: which, and how."""
    weights: dict[str, _Weights] = field(default_factory=dict)
    program: Program = field(default_factory=Program)
    done: set[str] = field(default_factory=set)
    """Outputs of QuantizeLinear nodes that were taken into the layer before them."""
    ends: set[str] = field(default_factory=set)
    """The graph's inputs and outputs."""

    def refuse(self, node: Any, why: str) -> ModelRefused:
        return ModelRefused(
            f"{self.where}: node {node.name or node.output[0]!r}: operator {node.op_type} {why}"
        )

    def affine(self, scale: str, zero: str) -> Affine:
        """The quantization that two constants state; the zero point's type is that of the steps."""
        if self.constants[scale].size != 1:
            raise ModelRefused(f"{self.where}: {scale}: activations per channel are not known")
        point = self.constants[zero]
        low, high = RANGE[point.dtype.name]
        return Affine(float(self.constants[scale].item()), int(point.item()), low, high)

    def numbers(self, name: str) -> str:
        """The name of a tensor as numbers; dequantizes it where that was put off."""
        if name in self.constants and name not in self.program.constants:
            self.program.constants[name] = torch.from_numpy(self.constants[name].copy())
        if name in self.held:
            steps, x = self.held.pop(name)
            self.program.add(Dequantize(x), [steps], name)
        return name

    def requantized(self, node: Any) -> tuple[str, Affine] | None:
        """The QuantizeLinear behind a node, where it alone reads the node: output, quantization."""
        after = self.consumers[node.output[0]]
        if len(after) != 1 or after[0].op_type != "QuantizeLinear":
            return None
        return after[0].output[0], self.affine(*after[0].input[1:3])

    def inner(self, steps: str, affine: Affine) -> bool:
        """Whether ONNX Runtime makes these steps uint8 on x86-64: nobody else sees them."""
        readers = [n for dq in self.consumers[steps] for n in self.consumers[dq.output[0]]]
        return affine.low == 0 or (len(readers) == 1 and steps not in self.ends)

    def fused(self, node: Any, x: tuple[str, Affine], y: tuple[str, Affine]) -> bool:
        """Whether ONNX Runtime runs this node on integers; see `surrogate_float`."""
        kinds = self.inner(*x), self.inner(*y)
        return INTEGERS_ONLY or all(kinds) or (node.op_type != "Conv" and not any(kinds))


def read_onnx(path: Path) -> Program:
    """Raises ModelRefused, which names the operator that is not known."""
    graph = onnx.load(str(path)).graph
    reader = _Reader(str(path))
    for tensor in graph.initializer:
        reader.constants[tensor.name] = numpy_helper.to_array(tensor)
    for node in graph.node:
        for name in node.input:
            reader.consumers[name].append(node)
    entries = [v.name for v in graph.input if v.name not in reader.constants]
    if len(entries) != 1:
        raise ModelRefused(f"{path}: has {len(entries)} inputs; the surrogate takes one")
    reader.ends = {v.name for v in (*graph.input, *graph.output)}
    for node in graph.node:
        _take(reader, node)
    made = reader.program
    made.input, made.outputs = entries[0], [reader.numbers(v.name) for v in graph.output]
    if not any(isinstance(layer, Linear) for layer, _, _ in made.steps):
        raise ModelRefused(f"{path}: has no quantized layer; give the int8 file, not its twin")
    return made


def _take(reader: _Reader, node: Any) -> None:
    known = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    handler = HANDLERS.get(node.op_type)
    if handler is None and node.op_type not in NUMBERS:
        names = ", ".join(sorted({*HANDLERS, *NUMBERS}))
        raise reader.refuse(node, f"is not known to the surrogate; known: {names}")
    if known.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise reader.refuse(node, f"with auto_pad {known['auto_pad'].decode()} is not known")
    if handler is None or not handler(reader, node, known):
        if node.op_type not in NUMBERS:
            raise reader.refuse(node, "reads numbers, not steps; give the int8 file, not its twin")
        _on_numbers(reader, node, known)


def _constant(reader: _Reader, node: Any, a: Attributes) -> bool:
    reader.constants[node.output[0]] = numpy_helper.to_array(a["value"])
    return True


def _dequantize(reader: _Reader, node: Any, a: Attributes) -> bool:
    source = node.input[0]
    if source in reader.constants:
        reader.weights[node.output[0]] = _weights(reader, node.input[:3], a.get("axis", 1))
    else:
        reader.held[node.output[0]] = source, reader.affine(*node.input[1:3])
    return True


def _weights(reader: _Reader, names: Sequence[str], axis: int) -> _Weights:
    """Steps less their zero point, and the scales; one for each slice along the axis."""
    steps, scales = reader.constants[names[0]].astype(np.int64), reader.constants[names[1]]
    if len(names) > 2 and names[2]:
        zero = reader.constants[names[2]].astype(np.int64)
        shape = [1] * steps.ndim
        if zero.size > 1:
            shape[axis] = zero.size
        steps = steps - zero.reshape(shape)
    return _Weights(steps, scales.reshape(-1))


def _quantize(reader: _Reader, node: Any, a: Attributes) -> bool:
    if node.output[0] not in reader.done:
        y = reader.affine(*node.input[1:3])
        reader.program.add(Quantize(y), [reader.numbers(node.input[0])], node.output[0])
    return True


def _window(a: Attributes) -> Window:
    return Window(
        stride=tuple(a.get("strides", (1, 1))),
        pads=tuple(a.get("pads", (0, 0, 0, 0))),
        dilation=tuple(a.get("dilations", (1, 1))),
        groups=a.get("group", 1),
        size=tuple(a.get("kernel_shape", (1, 1))),
    )


def _linear(reader: _Reader, node: Any, a: Attributes) -> bool:
    """Conv, Gemm, MatMul whose inputs were dequantized; requantized, or left as numbers."""
    x, w, *bias = node.input
    if x not in reader.held or w not in reader.weights:
        return False
    if a.get("transA") or a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0:
        raise reader.refuse(node, "with transA, alpha or beta is not known")
    weights = reader.weights[w]
    is_conv = node.op_type == "Conv"
    if not is_conv and not a.get("transB"):
        weights = _Weights(weights.steps.T, weights.scales)
    after = reader.requantized(node)
    out, y = after or (node.output[0], None)
    steps, held = reader.held[x]
    window = _window(a) if is_conv else None
    added = reader.weights[bias[0]] if bias else _Weights(*np.zeros((2, len(weights.steps)), int))
    if after is not None and not reader.fused(node, (steps, held), after):
        layer = NumberLinear(weights.numbers(), added.numbers(), held, after[1], window)
        reader.program.add(layer, [steps], out)
    else:
        _add_linear(reader, weights, added.steps, (held, y), window, (steps, out))
    if after:
        reader.done.add(out)
    return True


def _add_linear(
    reader: _Reader, weights: _Weights, bias: Array, ends: tuple[Affine, Affine | None],
    window: Window | None, names: tuple[str, str],
) -> None:  # fmt: skip
    tensors = [torch.from_numpy(np.ascontiguousarray(t)) for t in (weights.steps, bias)]
    scales = torch.from_numpy(weights.scales.astype(np.float32))
    layer = Linear(tensors[0], tensors[1], scales, ends[0], ends[1], window)
    reader.program.add(layer, [names[0]], names[1])


def _on_steps(reader: _Reader, node: Any, a: Attributes) -> bool:
    """What only moves steps, or compares them, between equal quantizations."""
    found, after = reader.held.get(node.input[0]), reader.requantized(node)
    if found is None or after is None or found[1] != after[1]:
        return False
    layer = NUMBERS[node.op_type](a, [reader.constants.get(n) for n in node.input[1:]])
    reader.program.add(layer, [found[0]], after[0])
    reader.done.add(after[0])
    return True


def _qlinear_conv(reader: _Reader, node: Any, a: Attributes) -> bool:
    i = node.input
    bias = reader.constants[i[8]].astype(np.int64) if len(i) > 8 and i[8] else None
    weights = _weights(reader, i[3:6], 0)
    bias = np.zeros(len(weights.steps), np.int64) if bias is None else bias
    ends = reader.affine(*i[1:3]), reader.affine(*i[6:8])
    _add_linear(reader, weights, bias, ends, _window(a), (i[0], node.output[0]))
    return True


def _qgemm(reader: _Reader, node: Any, a: Attributes) -> bool:
    i = node.input
    if a.get("transA") or a.get("alpha", 1.0) != 1.0 or len(i) < 9:
        raise reader.refuse(node, "with transA, alpha or an output of numbers is not known")
    weights = _weights(reader, i[3:6], 0 if a.get("transB") else 1)
    if not a.get("transB"):
        weights = _Weights(weights.steps.T, weights.scales)
    bias = reader.constants[i[6]].astype(np.int64) if i[6] else np.zeros(len(weights.steps), int)
    ends = reader.affine(*i[1:3]), reader.affine(*i[7:9])
    _add_linear(reader, weights, bias, ends, None, (i[0], node.output[0]))
    return True


def _qlinear_add(reader: _Reader, node: Any, a: Attributes) -> bool:
    i = node.input
    ends = [reader.affine(*i[at : at + 2]) for at in (1, 4, 6)]
    reader.program.add(ScaledSum(*ends), [i[0], i[3]], node.output[0])
    return True


def _on_numbers(reader: _Reader, node: Any, a: Attributes) -> None:
    """An operator of the float kind, on dequantized steps."""
    data = [n for n in node.input if n and n not in reader.constants]
    if node.op_type == "Softmax":
        reader.program.logits = reader.numbers(data[0]), None
    layer = NUMBERS[node.op_type](a, [reader.constants.get(n) for n in node.input[1:]])
    reader.program.add(layer, [reader.numbers(n) for n in data], node.output[0])


Layer = Callable[..., Tensor]
Constants = list[Array | None]


def _average_pool(a: Attributes, c: Constants) -> Layer:
    window = _window(a)
    if any(window.pads) or a.get("ceil_mode"):
        raise ModelRefused("AveragePool with pads or ceil_mode is not known to the surrogate")
    return lambda x: functional.avg_pool2d(x, window.size, window.stride)


def _max_pool(a: Attributes, c: Constants) -> Layer:
    if a.get("ceil_mode") or any(d != 1 for d in a.get("dilations", (1,))):
        raise ModelRefused("MaxPool with ceil_mode or dilations is not known to the surrogate")
    return MaxPool(_window(a))


def _reduce_mean(a: Attributes, c: Constants) -> Layer:
    axes = tuple(a["axes"]) if "axes" in a else tuple(int(i) for i in np.asarray(c[0]).ravel())
    return lambda x: x.mean(axes, keepdim=bool(a.get("keepdims", 1)))


def _reshape(a: Attributes, c: Constants) -> Layer:
    """The batch keeps its size, whatever the file says of it."""
    shape = tuple(int(i) for i in np.asarray(c[0]).ravel()[1:])
    return lambda x: x.reshape(len(x), *shape)


def _clip(a: Attributes, c: Constants) -> Layer:
    low, high = ([*c, None, None][:2]) if c else (a.get("min"), a.get("max"))
    ends = [None if end is None else float(end) for end in (low, high)]
    return lambda x: x.clamp(ends[0], ends[1])


NUMBERS: dict[str, Callable[[Attributes, Constants], Layer]] = {
    "Add": lambda a, c: torch.add,
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Flatten": lambda a, c: lambda x: x.flatten(a.get("axis", 1)),
    "GlobalAveragePool": lambda a, c: lambda x: x.mean((2, 3), keepdim=True),
    "Identity": lambda a, c: lambda x: x,
    "MaxPool": _max_pool,
    "ReduceMean": _reduce_mean,
    "Relu": lambda a, c: torch.relu,
    "Reshape": _reshape,
    "Softmax": lambda a, c: lambda x: x.softmax(a.get("axis", -1)),
    "Transpose": lambda a, c: lambda x: x.permute(tuple(a["perm"])),
}
HANDLERS: dict[str, Callable[[_Reader, Any, Attributes], bool]] = {
    "Constant": _constant,
    "Conv": _linear,
    "DequantizeLinear": _dequantize,
    "Flatten": _on_steps,
    "Gemm": _linear,
    "MatMul": _linear,
    "MaxPool": _on_steps,
    "QGemm": _qgemm,
    "QLinearAdd": _qlinear_add,
    "QLinearConv": _qlinear_conv,
    "QuantizeLinear": _quantize,
    "Reshape": _on_steps,
    "Transpose": _on_steps,
}
