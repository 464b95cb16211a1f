# SPDX-License-Identifier: Apache-2.0
"""Read a small float ONNX file as a differentiable function, so that attacks work on the very file.

Only the operators of the reference models are known: Conv, Relu, MaxPool, AveragePool,
GlobalAveragePool, Gemm, Flatten, Add. Anything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional

Attributes = dict[str, Any]
Operator = Callable[[list[Tensor], Attributes], Tensor]


def _padded(x: Tensor, a: Attributes, value: float = 0.0) -> Tensor:
    """Apply ONNX pads (top, left, bottom, right), which may differ from side to side."""
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    return (
        functional.pad(x, (left, right, top, bottom), value=value)
        if any((top, left, bottom, right))
        else x
    )


def _conv(i: list[Tensor], a: Attributes) -> Tensor:
    bias = i[2] if len(i) > 2 else None
    pads = a.get("pads", (0, 0, 0, 0))
    stride, dilation, groups = (
        tuple(a.get("strides", (1, 1))),
        tuple(a.get("dilations", (1, 1))),
        a.get("group", 1),
    )
    if pads[:2] == pads[2:]:
        return functional.conv2d(i[0], i[1], bias, stride, tuple(pads[:2]), dilation, groups)
    return functional.conv2d(_padded(i[0], a), i[1], bias, stride, 0, dilation, groups)


def _max_pool(i: list[Tensor], a: Attributes) -> Tensor:
    if a.get("ceil_mode") or any(d != 1 for d in a.get("dilations", (1,))):
        raise ValueError("MaxPool with ceil_mode or dilations is not known")
    return functional.max_pool2d(
        _padded(i[0], a, -torch.inf), tuple(a["kernel_shape"]), tuple(a.get("strides", (1, 1)))
    )


def _average_pool(i: list[Tensor], a: Attributes) -> Tensor:
    if a.get("ceil_mode") or any(a.get("pads", ())):
        raise ValueError("AveragePool with ceil_mode or pads is not known")
    return functional.avg_pool2d(i[0], tuple(a["kernel_shape"]), tuple(a.get("strides", (1, 1))))


def _gemm(i: list[Tensor], a: Attributes) -> Tensor:
    if a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0 or a.get("transA", 0):
        raise ValueError("Gemm with alpha, beta or transA is not known")
    weight = i[1] if a.get("transB", 0) else i[1].T
    return functional.linear(i[0], weight, i[2] if len(i) > 2 else None)


OPERATORS: dict[str, Operator] = {
    "Conv": _conv,
    "Relu": lambda i, a: torch.relu(i[0]),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda i, a: i[0].mean((2, 3), keepdim=True),
    "Gemm": _gemm,
    "Flatten": lambda i, a: i[0].flatten(a.get("axis", 1)),
    "Add": lambda i, a: i[0] + i[1],
}


class OnnxNet:
    """A float ONNX file as a differentiable function of images [N, 3, 32, 32]; weights fixed."""

    def __init__(self, path: Path) -> None:
        graph = onnx.load(str(path)).graph
        self.weights = {
            t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer
        }
        self.input = next(v.name for v in graph.input if v.name not in self.weights)
        self.outputs = [v.name for v in graph.output]
        self.nodes = []
        for node in graph.node:
            if node.op_type not in OPERATORS:
                raise ValueError(
                    f"{path}: operator {node.op_type} is none of {', '.join(OPERATORS)}"
                )
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            self.nodes.append(
                (OPERATORS[node.op_type], list(node.input), node.output[0], attributes)
            )

    def __call__(self, x: Tensor) -> list[Tensor]:
        """All outputs, in the order of the file."""
        values = {**self.weights, self.input: x}
        for operator, inputs, output, attributes in self.nodes:
            values[output] = operator([values[name] for name in inputs], attributes)
        return [values[name] for name in self.outputs]

    def scores(self, x: Tensor) -> Tensor:
        """The first output, [N, 43]."""
        return self(x)[0]
