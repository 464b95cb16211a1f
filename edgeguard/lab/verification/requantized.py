# SPDX-License-Identifier: Apache-2.0
"""Products whose input ONNX Runtime may quantize once more.

A MatMul, or a Gemm with transB=0, of which the weight alone is dequantized becomes ``MatMulNBits``
of accuracy level 4 there: it rounds its input anew, by blocks of 32, which moved scores by 0.06
where the bounds allow for 2e-6. Three things keep 1.32 from it (``DQMatMulNodeGroupSelector``): a
DequantizeLinear right before it, since then two inputs are dequantized; a QuantizeLinear right
behind it; a Relu or Clip right behind it that one quantizer reads. A MatMul and its bias are made a
Gemm before that, if the bias has a number for each output. A Flatten on either side undoes that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeguard.lab.verification.values import Constant, Value


def requantizes(graph: Any, product: Any, values: Mapping[str, Value]) -> bool:
    """Whether the input of this MatMul or Gemm may be quantized again; values: the constants."""
    transposed = any(a.name == "transB" and a.i for a in product.attribute)
    first = next((n for n in graph.node if product.input[0] in n.output), None)
    if transposed or (first is not None and first.op_type == "DequantizeLinear"):
        return False
    return not _quantized(graph, product, values)


def _quantized(graph: Any, node: Any, values: Mapping[str, Value]) -> bool:
    """Whether only a quantizer reads a product, or the bias or Relu that belongs to it."""
    behind = _readers(graph, node)
    if behind and all(n.op_type == "QuantizeLinear" for n in behind):
        return True
    if len(behind) != 1:
        return False
    (after,) = behind
    if after.op_type in ("Relu", "Clip"):
        ends = [n.op_type for n in _readers(graph, after)]
        return ends == ["QuantizeLinear"] and not _is_output(graph, after)
    if node.op_type == "MatMul" and after.op_type == "Add" and not _is_output(graph, node):
        return _each(node, after, values) and _quantized(graph, after, values)
    return False


def _each(product: Any, add: Any, values: Mapping[str, Value]) -> bool:
    """Whether an Add adds a number of its own to each output: [N] or [1, N]."""
    (name,) = (i for i in add.input if i != product.output[0])
    bias, weight = values[name], values[product.input[1]]
    assert isinstance(bias, Constant) and isinstance(weight, Constant)
    outputs = weight.array.shape[1]
    return bias.array.shape in ((outputs,), (1, outputs))


def _readers(graph: Any, node: Any) -> list[Any]:
    return [n for n in graph.node if node.output[0] in n.input]


def _is_output(graph: Any, node: Any) -> bool:
    return any(v.name == node.output[0] for v in graph.output)
