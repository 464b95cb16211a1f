# SPDX-License-Identifier: Apache-2.0
"""A full int8 or uint8 TFLite file as layers of `surrogate_layers`.

LiteRT gives Conv, FullyConnected and Add to XNNPACK, and average pooling and softmax of integers to
its reference kernels. On x86-64 XNNPACK requantizes by a float32 multiplication, as MLAS does; on
ARM, and with XNNPACK off, a fixed-point multiplier rounds otherwise in rare ties: one step.
Tensors stay [N, H, W, C], as in the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor
from torch.nn import functional

from edgeguard.errors import ModelRefused
from edgeguard.lab.surrogate_layers import (
    Affine,
    Dequantize,
    FixedSum,
    Layer,
    Linear,
    MaxPool,
    Program,
    Quantize,
    Window,
    rounded,
    saturated,
)

Array = npt.NDArray[Any]
DTYPES = {schema.TensorType.INT8: np.int8, schema.TensorType.UINT8: np.uint8,
          schema.TensorType.INT32: np.int32, schema.TensorType.FLOAT32: np.float32}  # fmt: skip
ACTIVATIONS = {0: (-math.inf, math.inf), 1: (0.0, math.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
SAME = schema.Padding.SAME


def _names(enum: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if not name.startswith("_")}


OPERATORS = _names(schema.BuiltinOperator)


@dataclass
class _Reader:
    where: str
    model: Any
    program: Program

    @property
    def graph(self) -> Any:
        return self.model.subgraphs[0]

    def tensor(self, index: int) -> Any:
        return self.graph.tensors[index]

    def name(self, index: int) -> str:
        return f"{index}"

    def label(self, index: int) -> str:
        """What the file calls a tensor; some call them nothing."""
        return (self.tensor(index).name or b"").decode() or f"number {index}"

    def shape(self, index: int) -> tuple[int, ...]:
        return tuple(int(d) for d in self.tensor(index).shape)

    def dtype(self, index: int) -> Any:
        """Raises ModelRefused for a type that no layer here has."""
        kind = self.tensor(index).type
        if kind not in DTYPES:
            name = _names(schema.TensorType)[kind]
            raise ModelRefused(
                f"{self.where}: tensor {self.label(index)!r} is {name}; "
                "the surrogate knows int8, uint8 and float32"
            )
        return DTYPES[kind]

    def constant(self, index: int) -> Array | None:
        data = self.model.buffers[self.tensor(index).buffer].data
        if data is None or len(data) == 0:
            return None
        return np.frombuffer(bytes(data), self.dtype(index)).reshape(self.shape(index))

    def scales(self, index: int) -> tuple[Array, Array]:
        """Scales float32 and zero points of a tensor."""
        q = self.tensor(index).quantization
        if q is None or q.scale is None or len(q.scale) == 0:
            raise ModelRefused(
                f"{self.where}: tensor {self.label(index)!r} is not quantized; "
                "give the full int8 file, not its twin"
            )
        return np.asarray(q.scale, np.float32), np.asarray(q.zeroPoint, np.int64)

    def affine(self, index: int, activation: int = 0) -> Affine:
        scales, zeros = self.scales(index)
        info = np.iinfo(self.dtype(index))
        whole = Affine(float(scales[0]), int(zeros[0]), int(info.min), int(info.max))
        return whole.clamped(*ACTIVATIONS[activation])


def read_tflite(path: Path) -> Program:
    """Raises ModelRefused, which names the operator that is not known."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    reader = _Reader(str(path), model, Program())
    graph = reader.graph
    if len(graph.inputs) != 1:
        raise ModelRefused(f"{path}: has {len(graph.inputs)} inputs; the surrogate takes one")
    names = [_operator(model.operatorCodes[node.opcodeIndex]) for node in graph.operators]
    strange = sorted(set(names) - set(HANDLERS))
    if strange:
        raise ModelRefused(
            f"{path}: operators {', '.join(strange)} are not known to the surrogate; "
            f"known: {', '.join(sorted(HANDLERS))}"
        )
    for name, node in zip(names, graph.operators, strict=True):
        layer, inputs = HANDLERS[name](reader, node)
        ends = [reader.name(i) for i in inputs], reader.name(node.outputs[0])
        reader.program.add(layer, *ends, name in ("QUANTIZE", "RESHAPE"))
    made = reader.program
    made.input = reader.name(graph.inputs[0])
    made.outputs = [reader.name(i) for i in graph.outputs]
    return made


def _operator(code: Any) -> str:
    return OPERATORS.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")


Made = tuple[Layer, list[int]]


def _padding(node: Any, sizes: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, ...]:
    """TensorFlow's SAME: so much border that the output has size / stride pixels."""
    o = node.builtinOptions
    if o.padding != SAME:
        return (0, 0, 0, 0)
    before, after = [], []
    for size, k, stride, dilation in zip(
        sizes, kernel, (o.strideH, o.strideW),
        (getattr(o, "dilationHFactor", 1), getattr(o, "dilationWFactor", 1)), strict=True,
    ):  # fmt: skip
        total = max((math.ceil(size / stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return (*before, *after)


def _window(reader: _Reader, node: Any, kernel: tuple[int, int], groups: int = 1) -> Window:
    o = node.builtinOptions
    sizes = reader.shape(node.inputs[0])[1:3]
    dilation = getattr(o, "dilationHFactor", 1), getattr(o, "dilationWFactor", 1)
    pads = _padding(node, (sizes[0], sizes[1]), kernel)
    return Window((o.strideH, o.strideW), pads, dilation, groups, kernel)  # type: ignore[arg-type]


def _on_pictures(layer: Layer) -> Layer:
    """A layer of [N, C, H, W] on [N, H, W, C]; a view, no copy."""
    return lambda x: layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _weights(reader: _Reader, index: int) -> tuple[Array, Array]:
    """Steps less their zero point, and the scales."""
    steps = reader.constant(index)
    if steps is None:
        raise ModelRefused(f"{reader.where}: weights that are computed are not known")
    scales, zeros = reader.scales(index)
    if len(zeros) > 1 and zeros.any():
        raise ModelRefused(f"{reader.where}: zero points per channel are not known")
    return steps.astype(np.int64) - zeros[0], scales


def _linear(
    reader: _Reader, node: Any, steps: Array, scales: Array, window: Window | None
) -> Linear:
    bias = reader.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] >= 0 else None
    added = np.zeros(len(steps), np.int64) if bias is None else bias.astype(np.int64)
    activation = node.builtinOptions.fusedActivationFunction
    return Linear(
        torch.from_numpy(np.ascontiguousarray(steps)), torch.from_numpy(added),
        torch.from_numpy(scales.copy()), reader.affine(node.inputs[0]),
        reader.affine(node.outputs[0], activation), window,
    )  # fmt: skip


def _conv(reader: _Reader, node: Any) -> Made:
    steps, scales = _weights(reader, node.inputs[1])  # [O, kh, kw, I]
    steps = steps.transpose(0, 3, 1, 2)
    window = _window(reader, node, (steps.shape[2], steps.shape[3]))
    return _on_pictures(_linear(reader, node, steps, scales, window)), [node.inputs[0]]


def _depthwise(reader: _Reader, node: Any) -> Made:
    steps, scales = _weights(reader, node.inputs[1])  # [1, kh, kw, O]
    steps = steps.transpose(3, 0, 1, 2)
    groups = reader.shape(node.inputs[0])[3]
    window = _window(reader, node, (steps.shape[2], steps.shape[3]), groups)
    return _on_pictures(_linear(reader, node, steps, scales, window)), [node.inputs[0]]


def _fully_connected(reader: _Reader, node: Any) -> Made:
    steps, scales = _weights(reader, node.inputs[1])
    layer = _linear(reader, node, steps, scales, None)
    return lambda x: layer(x.flatten(1)), [node.inputs[0]]


def _add(reader: _Reader, node: Any) -> Made:
    """Of two tensors, one of which may be a constant."""
    a, b = (reader.affine(i) for i in node.inputs)
    for index in node.inputs:
        steps = reader.constant(index)
        if steps is not None:
            held = torch.from_numpy(steps.astype(np.float32))
            reader.program.constants[reader.name(index)] = held
    y = reader.affine(node.outputs[0], node.builtinOptions.fusedActivationFunction)
    return FixedSum(a, b, y), list(node.inputs)


def _pad(reader: _Reader, node: Any) -> Made:
    pads = reader.constant(node.inputs[1])
    if pads is None or len(node.inputs) > 2:
        raise ModelRefused(f"{reader.where}: PAD with a computed border or value is not known")
    flat = [int(p) for pair in pads[::-1] for p in pair]
    zero = reader.affine(node.inputs[0]).zero
    return lambda x: functional.pad(x, flat, value=zero), [node.inputs[0]]


def _max_pool(reader: _Reader, node: Any) -> Made:
    o = node.builtinOptions
    y = reader.affine(node.outputs[0], o.fusedActivationFunction)
    pool = MaxPool(_window(reader, node, (o.filterHeight, o.filterWidth)))
    return _on_pictures(lambda x: pool(x).clamp(y.low, y.high)), [node.inputs[0]]


def _average_pool(reader: _Reader, node: Any) -> Made:
    """Rounds halves away from zero, in steps."""
    o = node.builtinOptions
    window = _window(reader, node, (o.filterHeight, o.filterWidth))
    if any(window.pads):
        raise ModelRefused(f"{reader.where}: AVERAGE_POOL_2D with a border is not known")
    y = reader.affine(node.outputs[0], o.fusedActivationFunction)

    def layer(x: Tensor) -> Tensor:
        mean = functional.avg_pool2d(x, window.size, window.stride)
        ties = (mean.detach().abs() % 1 == 0.5) * mean.detach().sign() * 0.25
        return rounded(mean + ties).clamp(y.low, y.high)

    return _on_pictures(layer), [node.inputs[0]]


def _mean(reader: _Reader, node: Any) -> Made:
    axes = tuple(int(i) for i in np.ravel(reader.constant(node.inputs[1])))
    x, y = reader.affine(node.inputs[0]), reader.affine(node.outputs[0])
    keep = bool(node.builtinOptions.keepDims)
    return lambda t: saturated(
        rounded((t - x.zero).mean(axes, keepdim=keep) * (x.scale / y.scale)), y
    ), [node.inputs[0]]


def _reshape(reader: _Reader, node: Any) -> Made:
    """The batch keeps its size, whatever the file says of it."""
    shape = reader.shape(node.outputs[0])[1:]
    return lambda x: x.reshape(len(x), *shape), [node.inputs[0]]


def _transpose(reader: _Reader, node: Any) -> Made:
    order = tuple(int(i) for i in np.ravel(reader.constant(node.inputs[1])))
    return lambda x: x.permute(order), [node.inputs[0]]


def _softmax(reader: _Reader, node: Any) -> Made:
    x, y = reader.affine(node.inputs[0]), reader.affine(node.outputs[0])
    beta = float(node.builtinOptions.beta)

    def layer(steps: Tensor) -> Tensor:
        p = ((steps - x.zero) * (x.scale * beta)).softmax(-1)
        return saturated(rounded(p / y.scale), y)

    reader.program.logits[reader.name(node.outputs[0])] = reader.name(node.inputs[0]), x
    return layer, [node.inputs[0]]


def _quantize(reader: _Reader, node: Any) -> Made:
    y = reader.affine(node.outputs[0])
    if reader.dtype(node.inputs[0]) is np.float32:
        return Quantize(y), [node.inputs[0]]
    x = reader.affine(node.inputs[0])
    return lambda t: saturated(rounded((t - x.zero) * (x.scale / y.scale)), y), [node.inputs[0]]


def _dequantize(reader: _Reader, node: Any) -> Made:
    return Dequantize(reader.affine(node.inputs[0])), [node.inputs[0]]


HANDLERS: dict[str, Callable[[_Reader, Any], Made]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _average_pool,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _dequantize,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _max_pool,
    "MEAN": _mean,
    "PAD": _pad,
    "QUANTIZE": _quantize,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
    "TRANSPOSE": _transpose,
}
