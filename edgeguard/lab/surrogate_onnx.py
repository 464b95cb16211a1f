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

from edgeguard.errors import ModelRefused
from edgeguard.lab.surrogate_float import INTEGERS_ONLY, NumberLinear
from edgeguard.lab.surrogate_layers import (
    Affine,
    Dequantize,
    Linear,
    Program,
    Quantize,
    ScaledSum,
    Window,
)
from edgeguard.lab.surrogate_numbers import NUMBERS, Attributes, window_of

Array = npt.NDArray[Any]
RANGE = {"int8": (-128, 127), "uint8": (0, 255)}
RESHAPED = ("Flatten", "Identity", "Reshape")
"""Operators that leave the values of a picture in their order."""


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
    """Outputs of nodes that were taken into the layer before them."""
    ends: set[str] = field(default_factory=set)
    """The graph's inputs and outputs."""
    kinds: dict[str, str] = field(default_factory=dict)
    """Of tensors of steps, the type."""

    def refuse(self, node: Any, why: str) -> ModelRefused:
        return ModelRefused(
            f"{self.where}: node {node.name or node.output[0]!r}: operator {node.op_type} {why}"
        )

    def constant(self, name: str) -> Array:
        """Raises ModelRefused for what is no constant."""
        if name not in self.constants:
            raise ModelRefused(
                f"{self.where}: {name!r} is computed; the surrogate wants a constant"
            )
        return self.constants[name]

    def settings(self, node: Any) -> list[Array | None]:
        """What a node reads besides its data; None: left out."""
        return [self.constant(name) if name else None for name in node.input[1:]]

    def affine(self, steps: str, scale: str, zero: str = "") -> Affine:
        """The quantization of a tensor of steps. Its type is the zero point's; without one, the
        zero point is 0 and the type is what made the tensor, or uint8 (as ONNX has it)."""
        if self.constant(scale).size != 1:
            raise ModelRefused(f"{self.where}: {scale}: activations per channel are not known")
        point = self.constant(zero) if zero else np.zeros(1, self.kinds.get(steps, "uint8"))
        kind = self.kinds[steps] = point.dtype.name
        if kind not in RANGE:
            raise ModelRefused(f"{self.where}: {steps}: is {kind}; known: {', '.join(RANGE)}")
        return Affine(float(self.constants[scale].item()), int(point.item()), *RANGE[kind])

    def quantizer(self, node: Any) -> Affine:
        """What a QuantizeLinear does."""
        for a in node.attribute:
            if a.name == "output_dtype" and a.i:
                self.kinds[node.output[0]] = helper.tensor_dtype_to_np_dtype(a.i).name
        return self.affine(node.output[0], *node.input[1:3])

    def numbers(self, name: str) -> str:
        """The name of a tensor as numbers; dequantizes it where that was put off."""
        known = self.program.constants
        if name in self.constants and name not in known:
            known[name] = torch.from_numpy(self.constants[name].copy())
        elif name in self.weights and name not in known:
            known[name] = self.weights[name].numbers()
        elif name in self.held:
            steps, x = self.held.pop(name)
            self.program.add(Dequantize(x), [steps], name)
        return name

    def steps(self, name: str) -> str:
        """The name of a tensor of steps, which may be a constant."""
        if name in self.constants:
            held = torch.from_numpy(self.constants[name].astype(np.float32))
            self.program.constants[name] = held
        return name

    def requantized(self, node: Any) -> tuple[str, Affine] | None:
        """The QuantizeLinear behind a node, where it alone reads the node: output, quantization."""
        after = self.consumers[node.output[0]]
        if len(after) != 1 or after[0].op_type != "QuantizeLinear":
            return None
        return after[0].output[0], self.quantizer(after[0])

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
    for value in graph.input:
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        reader.kinds[value.name] = kind.name
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
    if "value" not in a:
        raise reader.refuse(node, "of another kind than a tensor is not known")
    reader.constants[node.output[0]] = numpy_helper.to_array(a["value"])
    return True


def _dequantize(reader: _Reader, node: Any, a: Attributes) -> bool:
    source = node.input[0]
    if source in reader.constants:
        reader.weights[node.output[0]] = _weights(reader, node.input[:3], a.get("axis", 1))
    else:
        reader.held[node.output[0]] = source, reader.affine(*node.input[:3])
    return True


def _weights(reader: _Reader, names: Sequence[str], axis: int) -> _Weights:
    """Steps less their zero point, and the scales; one for each slice along the axis."""
    steps, scales = reader.constant(names[0]).astype(np.int64), reader.constant(names[1])
    if len(names) > 2 and names[2]:
        zero = reader.constant(names[2]).astype(np.int64)
        shape = [1] * steps.ndim
        if zero.size > 1:
            shape[axis] = zero.size
        steps = steps - zero.reshape(shape)
    return _Weights(steps, scales.reshape(-1))


def _quantize(reader: _Reader, node: Any, a: Attributes) -> bool:
    if node.output[0] not in reader.done:
        y = reader.quantizer(node)
        reader.program.add(Quantize(y), [reader.numbers(node.input[0])], node.output[0])
    return True


def _linear(reader: _Reader, node: Any, a: Attributes) -> bool:
    """Conv, Gemm, MatMul whose inputs were dequantized; requantized, or left as numbers."""
    x, w, *rest = node.input
    bias = [name for name in rest if name]
    if x not in reader.held or w not in reader.weights:
        return False
    if a.get("transA") or a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0:
        raise reader.refuse(node, "with transA, alpha or beta is not known")
    weights = reader.weights[w]
    is_conv = node.op_type == "Conv"
    if not is_conv and not a.get("transB"):
        weights = _Weights(weights.steps.T, weights.scales)
    steps, held = reader.held[x]
    last, bias = _summand(reader, node) or (node, bias)
    reader.done.update(last.output)
    after = reader.requantized(last)
    out, y = after or (last.output[0], None)
    window = window_of(a) if is_conv else None
    added = _bias(reader, node, bias[0] if bias else "", weights, held)
    if after is not None and not reader.fused(node, (steps, held), after):
        layer = NumberLinear(weights.numbers(), added.numbers(), held, after[1], window)
        reader.program.add(layer, [steps], out)
    else:
        _add_linear(reader, weights, added.steps, (held, y), window, (steps, out))
    if after:
        reader.done.add(out)
    return True


def _summand(reader: _Reader, node: Any) -> tuple[Any, list[str]] | None:
    """The Add behind a MatMul, and its constant, of which ONNX Runtime makes a Gemm."""
    made = node.output[0]
    after = reader.consumers[made]
    if node.op_type != "MatMul" or len(after) != 1 or after[0].op_type != "Add":
        return None
    rest = [name for name in after[0].input if name != made and name in reader.constants]
    return (after[0], rest) if rest and made not in reader.ends else None


def _bias(reader: _Reader, node: Any, name: str, weights: _Weights, x: Affine) -> _Weights:
    """Numbers are made steps of the accumulator, as ONNX Runtime does."""
    many = len(weights.steps)
    if name in reader.weights:
        return reader.weights[name]
    if not name:
        return _Weights(np.zeros(many, np.int64), np.zeros(many))
    numbers = reader.constant(name).reshape(-1)
    if len(numbers) not in (1, many):
        raise reader.refuse(node, f"adds {name!r} of shape {list(reader.constant(name).shape)}")
    unit = np.float32(x.scale) * weights.scales.astype(np.float32)
    steps = np.rint(numbers.astype(np.float32) / unit).astype(np.int64)
    return _Weights(np.resize(steps, many), unit)


def _add_linear(
    reader: _Reader, weights: _Weights, bias: Array, ends: tuple[Affine, Affine | None],
    window: Window | None, names: tuple[str, str],
) -> None:  # fmt: skip
    tensors = [torch.from_numpy(np.ascontiguousarray(t)) for t in (weights.steps, bias)]
    scales = torch.from_numpy(weights.scales.astype(np.float32))
    layer = Linear(tensors[0], tensors[1], scales, ends[0], ends[1], window)
    reader.program.add(layer, [names[0]], names[1])


def _add(reader: _Reader, node: Any, a: Attributes) -> bool:
    """Whether the layer before has it already."""
    return node.output[0] in reader.done


def _on_steps(reader: _Reader, node: Any, a: Attributes) -> bool:
    """What only moves steps, or compares them, between equal quantizations."""
    found, after = reader.held.get(node.input[0]), reader.requantized(node)
    if found is None or after is None or found[1] != after[1]:
        return False
    layer = NUMBERS[node.op_type](a, reader.settings(node))
    reader.program.add(layer, [found[0]], after[0], node.op_type in RESHAPED)
    reader.done.add(after[0])
    return True


def _qlinear_conv(reader: _Reader, node: Any, a: Attributes) -> bool:
    i = node.input
    bias = reader.constant(i[8]).astype(np.int64) if len(i) > 8 and i[8] else None
    weights = _weights(reader, i[3:6], 0)
    bias = np.zeros(len(weights.steps), np.int64) if bias is None else bias
    ends = reader.affine(*i[:3]), reader.affine(node.output[0], *i[6:8])
    _add_linear(reader, weights, bias, ends, window_of(a), (i[0], node.output[0]))
    return True


def _qgemm(reader: _Reader, node: Any, a: Attributes) -> bool:
    i = node.input
    if a.get("transA") or a.get("alpha", 1.0) != 1.0 or len(i) < 9:
        raise reader.refuse(node, "with transA, alpha or an output of numbers is not known")
    weights = _weights(reader, i[3:6], 0 if a.get("transB") else 1)
    if not a.get("transB"):
        weights = _Weights(weights.steps.T, weights.scales)
    bias = reader.constant(i[6]).astype(np.int64) if i[6] else np.zeros(len(weights.steps), int)
    ends = reader.affine(*i[:3]), reader.affine(node.output[0], *i[7:9])
    _add_linear(reader, weights, bias, ends, None, (i[0], node.output[0]))
    return True


def _qlinear_add(reader: _Reader, node: Any, a: Attributes) -> bool:
    i = node.input
    ends = [reader.affine(*i[:3]), reader.affine(*i[3:6]), reader.affine(node.output[0], *i[6:8])]
    reader.program.add(ScaledSum(*ends), [reader.steps(i[0]), reader.steps(i[3])], node.output[0])
    return True


def _on_numbers(reader: _Reader, node: Any, a: Attributes) -> None:
    """An operator of the float kind, on dequantized steps; constants may be summands."""
    is_sum = node.op_type == "Add"
    data = [reader.numbers(name) for name in (node.input if is_sum else node.input[:1])]
    if node.op_type == "Softmax":
        reader.program.logits[node.output[0]] = data[0], None
    layer = NUMBERS[node.op_type](a, [] if is_sum else reader.settings(node))
    reader.program.add(layer, data, node.output[0], node.op_type in RESHAPED)


HANDLERS: dict[str, Callable[[_Reader, Any, Attributes], bool]] = {
    "Add": _add,
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
