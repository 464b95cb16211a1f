# SPDX-License-Identifier: Apache-2.0
"""Float and int8 ONNX files of a trained network.

The int8 file is QDQ, int8 activations and per-channel int8 weights, with the quantize
node at the input and the dequantize nodes at the outputs cut off: what goes in and comes
out is int8, and the parameters of both stand in the graph. Calibration is min/max; the
scores get head room, so that no logit ends at a rail.

ONNX Runtime makes inner activations uint8 on x86-64: without VNNI its kernels may then
saturate where weights are beyond +-64. The golden vectors find out on each machine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

INPUT, SCORES, EMBEDDING = "image", "scores", "embedding"
INPUT_SCALE, INPUT_ZERO = 1.0 / 255.0, -128
HEAD_ROOM = 1.15  # calibrated range of the scores is widened by this factor


def export_float(net: torch.nn.Module, path: Path, shape: tuple[int, ...] = (3, 32, 32)) -> None:
    """Write the float32 twin: image [N, C, H, W] in [0, 1] -> scores, embedding."""
    torch.onnx.export(
        net,
        (torch.zeros(1, *shape),),
        str(path),
        dynamo=False,
        opset_version=17,
        external_data=False,
        input_names=[INPUT],
        output_names=[SCORES, EMBEDDING],
        dynamic_axes={name: {0: "N"} for name in (INPUT, SCORES, EMBEDDING)},
    )
    model = onnx.load(str(path))
    save(model, path)


def save(model: Any, path: Path) -> None:
    """Check and write a model, free of traces of the tools that made it."""
    model.producer_name, model.producer_version, model.doc_string = "edgeguard.lab.zoo", "", ""
    for node in model.graph.node:
        node.doc_string = ""
    standard = [helper.make_opsetid("", 17)]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    del model.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


class _Frames(CalibrationDataReader):  # type: ignore[misc]
    """Calibration images float32 [N, 3, 32, 32], a batch at a time."""

    def __init__(self, x: npt.NDArray[np.float32]) -> None:
        self.batches = iter(np.array_split(x, max(1, len(x) // 64)))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}


def score_range(float_path: Path, x: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Smallest and largest logit on the calibration images, with head room."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(float_path), providers=["CPUExecutionProvider"])
    found = [
        session.run([SCORES], {INPUT: part})[0] for part in np.array_split(x, max(1, len(x) // 64))
    ]
    scores = np.concatenate(found)
    return float(scores.min()) * HEAD_ROOM, float(scores.max()) * HEAD_ROOM


def affine(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of int8 that cover [low, high] and represent 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255.0
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


def quantize_onnx(float_path: Path, path: Path, x: npt.NDArray[np.float32]) -> None:
    """Write the int8 file of a float twin; x float32 [N, C, H, W] are the calibration images."""
    scale, zero = affine(*score_range(float_path, x))
    overrides = {
        INPUT: [
            {
                "scale": np.array(INPUT_SCALE, np.float32),
                "zero_point": np.array(INPUT_ZERO, np.int8),
            }
        ],
        SCORES: [{"scale": np.array(scale, np.float32), "zero_point": np.array(zero, np.int8)}],
    }
    with tempfile.TemporaryDirectory() as folder:
        ready, qdq = Path(folder) / "ready.onnx", Path(folder) / "qdq.onnx"
        quant_pre_process(str(float_path), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(qdq),
            _Frames(x),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"TensorQuantOverrides": overrides},
        )
        model = onnx.load(str(qdq))
    cut_input(model.graph)
    cut_outputs(model.graph)
    drop_unused(model.graph)
    save(model, path)


def cut_input(graph: Any) -> None:
    """Take away the QuantizeLinear at the input: the graph's input is int8."""
    first = next(n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == INPUT)
    for node in graph.node:
        node.input[:] = [INPUT if name == first.output[0] else name for name in node.input]
    graph.node.remove(first)
    set_int8(graph.input[0], INPUT)


def cut_outputs(graph: Any) -> None:
    """Take away the DequantizeLinear at the outputs; what else reads them keeps its own."""
    for output in graph.output:
        last = next(
            n for n in graph.node if n.op_type == "DequantizeLinear" and n.output[0] == output.name
        )
        quantized, name = last.input[0], output.name
        inner = f"{name}_float"
        readers = [n for n in graph.node if name in n.input]
        for node in readers:
            node.input[:] = [inner if i == name else i for i in node.input]
        last.output[0] = inner
        if not readers:
            graph.node.remove(last)
        for node in graph.node:
            node.input[:] = [name if i == quantized else i for i in node.input]
            node.output[:] = [name if o == quantized else o for o in node.output]
        set_int8(output, name)


def set_int8(value: Any, name: str) -> None:
    """Make a graph input or output int8, its shape kept."""
    shape = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
    value.CopyFrom(helper.make_tensor_value_info(name, TensorProto.INT8, shape))


def drop_unused(graph: Any) -> None:
    """Drop initializers that no node reads, and types of inner tensors, which no longer hold."""
    used = {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)
    del graph.value_info[:]


def quantization(path: Path) -> dict[str, tuple[float, int]]:
    """Scale and zero point of the input and of both outputs, read from an int8 file."""
    graph = onnx.load(str(path)).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    found: dict[str, tuple[float, int]] = {}
    for node in graph.node:
        ends = node.input[:1] if node.op_type == "DequantizeLinear" else node.output[:1]
        if node.op_type in ("DequantizeLinear", "QuantizeLinear") and ends[0] in (
            INPUT,
            SCORES,
            EMBEDDING,
        ):
            found.setdefault(
                ends[0], (float(constants[node.input[1]]), int(constants[node.input[2]]))
            )
    return found
