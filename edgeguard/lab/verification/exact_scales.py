# SPDX-License-Identifier: Apache-2.0
"""An int8 file whose float32 sums are exact, so that runtimes do not differ in how they add.

Scales become 2**k or 1.5 * 2**k, weights stay within -64..64. Then all partial sums of a layer are
multiples of one power of two below 2**24 of it, exact in float32 in any order and with any fusing,
and no kernel that adds two products in 16 bits saturates. Only the first layer is left out: the
input keeps 1/255, so that pixels stay exact, and its sums are exact to a few thousandths of a step.
See ``net`` for what it is good for.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgeguard.lab.zoo import quantize_onnx

MOST_WEIGHT = 64  # 255 * 64 * 2 < 2**15


def short(scale: float) -> float:
    """The smallest 2**k or 1.5 * 2**k that is not below ``scale``."""
    m, k = math.frexp(scale)  # m in [1/2, 1)
    if m == 0.5:
        return scale
    return math.ldexp(0.75 if m <= 0.75 else 1.0, k)


def make_exact(float_path: Path, path: Path) -> None:
    """Give an int8 file of ``quantize_onnx`` short scales; weights and biases are rounded anew."""
    model = onnx.load(str(path))
    twin = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(float_path)).graph.initializer}
    constants = {t.name: numpy_helper.to_array(t).copy() for t in model.graph.initializer}
    makers = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            _activation(node, constants)
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            x, weight, bias = (makers[name] for name in node.input)
            _layer(constants, twin, x, weight, bias)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(constants[tensor.name], tensor.name))
    quantize_onnx.save(model, path)


def _activation(node: Any, constants: dict[str, Any]) -> None:
    """Widen the grid of a quantizer; its zero point keeps both ends of the range inside."""
    _, scale_name, zero_name = node.input
    old, zero = float(constants[scale_name]), int(constants[zero_name])
    new = short(old)
    if new == old:  # also: a scale that several quantizers share, done already
        return
    low = (-128 - zero) * old
    constants[scale_name] = np.array(new, np.float32)
    constants[zero_name] = np.array(np.clip(round(-128 - low / new), -128, 127), np.int8)


def _layer(constants: dict[str, Any], twin: dict[str, Any], x: Any, weight: Any, bias: Any) -> None:
    """Round weights and bias of the float twin to the new grids; Gemm weights are [O, I]."""
    kernel = twin[weight.input[0].removesuffix("_quantized")].astype(np.float64)
    flat = np.abs(kernel.reshape(len(kernel), -1)).max(1)
    scales = np.array([short(max(v, 1e-6) / MOST_WEIGHT) for v in flat])
    along = scales.reshape(-1, *[1] * (kernel.ndim - 1))
    products = scales * float(constants[x.input[1]])
    offset = twin[bias.input[0].removesuffix("_quantized")].astype(np.float64)
    constants[weight.input[0]] = np.rint(kernel / along).astype(np.int8)
    constants[weight.input[1]] = scales.astype(np.float32)
    constants[bias.input[0]] = np.rint(offset / products).astype(np.int32)
    constants[bias.input[1]] = products.astype(np.float32)
