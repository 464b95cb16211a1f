# SPDX-License-Identifier: Apache-2.0
"""Layers that ONNX Runtime runs on numbers although the file is quantized.

On x86-64, ONNX Runtime 1.32 fuses a Conv with its quantizers only where input and output are both
uint8; its QDQS8ToU8 pass makes int8 activations uint8, but for those that are the graph's own
inputs and outputs or have more than one reader. A Conv on the edge between the two kinds (the
first one, both ends of a residual block), and a Gemm likewise, runs in float32. The order in which
its sums are rounded is that of the CPU's kernel, and decides ties: so the runtime itself runs these
layers here, and torch has only their gradient.
"""

from __future__ import annotations

import platform
from typing import Any

import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import Tensor
from torch.nn import functional, grad

from edgeguard.lab.surrogate_layers import Affine, Window, rounded, saturated

INTEGERS_ONLY = platform.machine() not in ("x86_64", "AMD64")
"""Elsewhere int8 activations are fused as they are."""


def _session(window: Window | None) -> Any:
    """One operator whose weights are inputs, as in the deployed graph: nothing is packed."""
    if window is None:
        node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    else:
        node = helper.make_node(
            "Conv", ["x", "w", "b"], ["y"], strides=window.stride, pads=window.pads,
            dilations=window.dilation, group=window.groups,
        )  # fmt: skip
    entries = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "w", "b")]
    ends = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    model = helper.make_model(
        helper.make_graph([node], "layer", entries, ends),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


class _Runtime(torch.autograd.Function):
    """Forward by the runtime, back by torch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: NumberLinear) -> Tensor:
        ctx.layer, ctx.shape = layer, x.shape
        return layer.run(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return ctx.layer.back(gradient, ctx.shape), None


class NumberLinear:
    """A convolution or a matrix product on numbers, then a quantizer."""

    def __init__(
        self, weight: Tensor, bias: Tensor, x: Affine, y: Affine, window: Window | None
    ) -> None:
        """weight [O, I, kh, kw] or [O, I] and bias [O]: dequantized, float32."""
        self.weight, self.bias, self.x, self.y, self.window = weight, bias, x, y, window
        self._fixed = {"w": weight.numpy(), "b": bias.numpy()}
        self._session = _session(window)

    def __call__(self, x: Tensor) -> Tensor:
        scale = torch.tensor([self.x.scale, self.y.scale], dtype=torch.float32)
        made: Tensor = _Runtime.apply((x - self.x.zero) * scale[0], self)
        return saturated(rounded(made / scale[1]), self.y)

    def run(self, x: Tensor) -> Tensor:
        """Matrix products go one by one: a batch of one has a kernel of its own."""
        numbers = x.contiguous().numpy()
        parts = [numbers] if self.window is not None else numbers[:, None]
        made = [self._session.run(None, {"x": part, **self._fixed})[0] for part in parts]
        return torch.cat([torch.from_numpy(part) for part in made])

    def back(self, gradient: Tensor, shape: torch.Size) -> Tensor:
        """The gradient towards the input."""
        w = self.window
        if w is None:
            return gradient @ self.weight
        top, left, bottom, right = w.pads
        padded = (*shape[:2], shape[2] + top + bottom, shape[3] + left + right)
        made = grad.conv2d_input(padded, self.weight, gradient, w.stride, 0, w.dilation, w.groups)
        return functional.pad(made, (-left, -right, -top, -bottom))
