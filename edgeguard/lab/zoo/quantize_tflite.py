# SPDX-License-Identifier: Apache-2.0
"""Float and full int8 TFLite files of a trained network, by litert-torch and ai-edge-quantizer.

Images go in as NHWC. Two traps are stepped around here: the quantizer's own calibration is a
moving average, which saturates most top logits (it is replaced by min/max); and the converter
names tensors after the Python classes, a sixth of the file of a small network (they get short
names; the scores stay the first output).
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgeguard.lab.zoo.quantize_onnx import EMBEDDING, HEAD_ROOM, INPUT, SCORES

SIGNATURE = "serving_default"


def export_float(net: torch.nn.Module, path: Path, shape: tuple[int, ...] = (32, 32, 3)) -> None:
    """Write the float32 twin: image [1, H, W, C] in [0, 1] -> scores, embedding."""
    import litert_torch

    ready = litert_torch.to_channel_last_io(net, args=[0]).eval()
    with contextlib.redirect_stdout(io.StringIO()):
        litert_torch.convert(ready, (torch.zeros(1, *shape),)).export(str(path))
    model = read(path.read_bytes())
    shorten_names(model)
    path.write_bytes(written(model))


def quantize_tflite(float_path: Path, path: Path, x: npt.NDArray[np.float32]) -> None:
    """Write the full int8 file of a float twin; x float32 [N, H, W, C] calibrates it."""
    from ai_edge_quantizer import calibrator, quantizer, recipe
    from ai_edge_quantizer.utils import qsv_utils

    maker = quantizer.Quantizer(str(float_path))
    maker.load_quantization_recipe(recipe.static_wi8_ai8())
    watcher = calibrator.Calibrator(
        str(float_path), num_threads=1, qsv_update_func=qsv_utils.min_max_update
    )
    frames = ({INPUT: image[None]} for image in x)
    watcher.calibrate({SIGNATURE: list(frames)}, maker._recipe_manager)
    ranges = watcher.get_model_qsvs()
    ranges[INPUT] = {
        "min": np.zeros_like(ranges[INPUT]["min"]),
        "max": np.ones_like(ranges[INPUT]["max"]),
    }
    ranges[SCORES] = {side: value * HEAD_ROOM for side, value in ranges[SCORES].items()}
    content = maker.quantize(ranges, enable_progress_report=False).quantized_model
    path.write_bytes(written(read(bytes(content))))


def read(content: bytes) -> Any:
    """A flatbuffer as an editable tree."""
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    return tfl_flatbuffer_utils.read_model(content)


def written(model: Any) -> bytes:
    """The tree as a flatbuffer again, without the converter's notes."""
    import flatbuffers

    model.description = b"edgeguard.lab.zoo"
    model.metadata = [m for m in model.metadata or [] if m.name == b"min_runtime_version"]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def shorten_names(model: Any) -> None:
    """Name the ends ``image``, ``scores``, ``embedding``, and everything between by its number."""
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    for number, tensor in enumerate(graph.tensors):
        tensor.name = f"t{number}".encode()
    ends = [
        (graph.inputs, signature.inputs, [INPUT]),
        (graph.outputs, signature.outputs, [SCORES, EMBEDDING]),
    ]
    for indices, entries, names in ends:
        by_tensor = {entry.tensorIndex: entry for entry in entries}
        for index, name in zip(indices, names, strict=True):
            graph.tensors[index].name = name.encode()
            by_tensor[index].name = name.encode()


def quantization(path: Path) -> dict[str, tuple[float, int]]:
    """Scale and zero point of the input and of both outputs, read from an int8 file."""
    graph = read(path.read_bytes()).subgraphs[0]
    found = {}
    for index in [*graph.inputs, *graph.outputs]:
        tensor = graph.tensors[index]
        found[tensor.name.decode()] = (
            float(tensor.quantization.scale[0]),
            int(tensor.quantization.zeroPoint[0]),
        )
    return found
