# SPDX-License-Identifier: Apache-2.0
"""Int8 members of a wished-for inference time, with random weights: for benchmarks only."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIDE, CLASSES = 32, 43
IN_SCALE, STEP = 1 / 255, 0.05


def write_members(folder: Path, names: Sequence[str], target_us: float) -> None:
    """Write NAME.onnx, card and golden vectors of QDQ CNNs that take about ``target_us`` each.

    They are measured as they will run, one after the other: each finds the caches as the others
    left them.
    """
    width = _width(len(names), target_us)
    for seed, name in enumerate(names):
        model = build(width, seed)
        (folder / f"{name}.onnx").write_bytes(model)
        inputs = np.random.default_rng(seed).integers(-128, 128, (2, 3, SIDE, SIDE), np.int8)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        scores = np.concatenate([session.run(["scores"], {"image": x[None]})[0] for x in inputs])
        np.savez(folder / f"{name}.golden.npz", x=inputs, scores=scores)
        (folder / f"{name}.card.json").write_text(json.dumps(_card(folder, name)))


def _width(members: int, target_us: float) -> int:
    """The width whose time lies nearest to the target: doubled until over it, then halved in."""
    low, high = 4, 8
    while _time_us(members, high) < target_us and high < 1024:
        low, high = high, 2 * high
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        if _time_us(members, middle) < target_us:
            low = middle
        else:
            high = middle
    return high


def build(width: int, seed: int) -> bytes:
    """Three 3x3 convolutions with pooling and a dense end, all int8 QDQ, s8s8."""
    rng = np.random.default_rng(seed)
    graph = _Graph()
    x = graph.dequantize("image", IN_SCALE, -128)
    channels = 3
    for layer, out in enumerate((width, 2 * width, 2 * width)):
        weight = rng.normal(0, (2 / (9 * channels)) ** 0.5, (out, channels, 3, 3))
        x = graph.node("Conv", [x, graph.weight(weight)], kernel_shape=[3, 3], pads=[1] * 4)
        x = graph.quantized(graph.node("Relu", [x]), 0.05, -128)
        if layer < 2:
            pooled = graph.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
            x = graph.quantized(pooled, 0.05, -128)
        channels = out
    x = graph.quantized(graph.node("GlobalAveragePool", [x]), 0.05, -128)
    weight = rng.normal(0, (6 / channels) ** 0.5, (channels, CLASSES))
    x = graph.node("Gemm", [graph.node("Flatten", [x]), graph.weight(weight)])
    graph.quantize(x, "scores", STEP, 0)
    return graph.model()


class _Graph:
    """Writes a graph node by node; every method returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        name = name or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def dequantize(self, x: str, scale: float, zero: int) -> str:
        ends = [self.constant(np.float32(scale)), self.constant(np.int8(zero))]
        return self.node("DequantizeLinear", [x, *ends])

    def quantize(self, x: str, name: str, scale: float, zero: int) -> str:
        ends = [self.constant(np.float32(scale)), self.constant(np.int8(zero))]
        return self.node("QuantizeLinear", [x, *ends], name)

    def quantized(self, x: str, scale: float, zero: int) -> str:
        return self.dequantize(self.quantize(x, "", scale, zero), scale, zero)

    def weight(self, value: np.ndarray) -> str:
        scale = float(np.abs(value).max() / 127)
        return self.dequantize(self.constant(np.rint(value / scale).astype(np.int8)), scale, 0)

    def model(self) -> bytes:
        image = helper.make_tensor_value_info("image", TensorProto.INT8, [1, 3, SIDE, SIDE])
        scores = helper.make_tensor_value_info("scores", TensorProto.INT8, [1, CLASSES])
        graph = helper.make_graph(self.nodes, "sized", [image], [scores], self.constants)
        opset = [helper.make_opsetid("", 17)]
        return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def _time_us(members: int, width: int) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(
            build(width, seed), options, providers=["CPUExecutionProvider"]
        )
        for seed in range(members)
    ]
    x = np.random.default_rng(0).integers(-128, 128, (1, 3, SIDE, SIDE), np.int8)
    taken = []
    for _ in range(40):
        start = time.perf_counter_ns()
        for session in sessions:
            session.run(["scores"], {"image": x})
        taken.append((time.perf_counter_ns() - start) / members)
    return float(np.median(taken)) / 1e3


def _card(folder: Path, name: str) -> dict[str, Any]:
    def digest(file: str) -> str:
        return hashlib.sha256((folder / file).read_bytes()).hexdigest()

    scores = {"name": "scores", "dtype": "int8", "kind": "logits", "size": CLASSES}
    return {
        "name": name,
        "file": f"{name}.onnx",
        "sha256": digest(f"{name}.onnx"),
        "runtime": "onnx",
        "task": "classifier",
        "labels": [f"class {i}" for i in range(CLASSES)],
        "max_rail": CLASSES,
        "min_distinct": 1,
        "input": {
            "layout": "CHW", "dtype": "int8", "size": [SIDE, SIDE], "scale": IN_SCALE,
            "zero_point": -128, "colour": "RGB", "resize": "area", "fit": "stretch",
        },
        "outputs": [scores | {"scale": STEP, "zero_point": 0}],
        "golden": {"file": f"{name}.golden.npz", "sha256": digest(f"{name}.golden.npz")},
    }  # fmt: skip
