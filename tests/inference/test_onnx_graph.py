# SPDX-License-Identifier: Apache-2.0
"""Quantization is read from the file, and no file makes the reader do more than read or refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tiny_models
from onnx import TensorProto, helper

from edgeguard.errors import ModelRefused
from edgeguard.inference.onnx_graph import read_onnx
from edgeguard.inference.quantization import detection_head


@pytest.mark.parametrize("ends", ["int8", "step", "float", "softmax"])
def test_inputs_outputs_and_quantization_are_those_of_the_file(ends: str) -> None:
    spec = read_onnx(tiny_models.build(tiny_models.weights(), ends), "tiny")
    (image,), (scores, embedding) = spec.inputs, spec.outputs
    whole = ends in ("int8", "step")
    assert (image.name, image.shape) == ("image", (1, 3, 4, 4))
    assert image.dtype == ("int8" if whole else "float32")
    assert (image.scale, image.zero_point) == (
        (float(np.float32(1 / 255)), -128) if whole else (0, 0)
    )
    assert scores.dtype == ("int8" if ends == "int8" else "float32")
    assert (scores.scale, scores.zero_point) == (
        (float(np.float32(0.05)), -10) if whole else (0, 0)
    )
    assert scores.softmax == (ends == "softmax")
    assert (embedding.name, embedding.size) == ("embedding", 8)


def model_with(nodes: list[Any], in_type: int, out_type: int, **constants: Any) -> bytes:
    return tiny_models.serialize(
        nodes,
        [helper.make_tensor_value_info("x", in_type, [1, 4, 4, 3])],
        [helper.make_tensor_value_info("y", out_type, ["n", "m"])],
        constants,
    )


def test_quantization_is_found_behind_nodes_that_only_change_the_shape() -> None:
    scale = helper.make_node("Constant", [], ["s"], value=helper.make_tensor("", 1, [], [0.5]))
    nodes = [
        scale,
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["t", "s", "z"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "s2"], ["q"]),
        helper.make_node("Flatten", ["q"], ["y"]),
    ]
    data = model_with(
        nodes, TensorProto.UINT8, TensorProto.UINT8, z=np.uint8(7), s2=np.array([0.25], np.float32)
    )
    spec = read_onnx(data, "m")
    assert (spec.inputs[0].scale, spec.inputs[0].zero_point) == (0.5, 7)
    assert (spec.outputs[0].scale, spec.outputs[0].zero_point) == (0.25, 0)


def test_quantization_per_channel_at_the_ends_is_refused() -> None:
    node = helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"], axis=3)
    data = model_with(
        [node], TensorProto.INT8, TensorProto.FLOAT,
        s=np.ones(3, np.float32), z=np.zeros(3, np.int8),
    )  # fmt: skip
    with pytest.raises(ModelRefused, match="not one number"):
        read_onnx(data, "m")


def test_weights_in_another_file_are_refused_for_no_hash_covers_them() -> None:
    model = onnx.load_from_string(tiny_models.build(tiny_models.weights()))
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "/etc/passwd")
    model.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(ModelRefused, match="'w1' lies in another file"):
        read_onnx(model.SerializeToString(), "m")


def test_no_bytes_make_the_reader_fail_otherwise_than_by_refusing() -> None:
    whole = tiny_models.build(tiny_models.weights())
    rng = np.random.default_rng(1)
    for cut in range(0, len(whole), 7):
        attempt(whole[:cut])
    for _ in range(1500):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            data[at] = rng.integers(0, 256)
        attempt(bytes(data))
    for _ in range(300):
        attempt(rng.bytes(int(rng.integers(0, 200))))


def attempt(data: bytes) -> None:
    try:
        read_onnx(data, "m")
    except ModelRefused as error:
        assert str(error).startswith("m: ")


@pytest.mark.parametrize(
    ("shapes", "refused"),
    [
        ([(1, 84, 8400)], True),
        ([(1, 25200, 85)], True),
        ([(1, 10, 4), (1, 10), (1, 10), (1,)], True),
        ([(-1, 4), (-1,), (-1,)], True),
        ([(1, -1, 6)], True),
        ([(1, 21, 64, 64)], True),
        ([(1, 1000)], False),
        ([(-1, 4)], False),
        ([(1, 10), (1, 96)], False),
        ([(1, 10, 1, 1)], False),
        ([(10,)], False),
    ],
    ids=str,
)
def test_detection_heads_are_told_from_scores(shapes: list[tuple[int, ...]], refused: bool) -> None:
    from edgeguard.inference.quantization import TensorSpec

    outputs = tuple(TensorSpec(f"o{i}", "float32", s) for i, s in enumerate(shapes))
    assert (detection_head(outputs) is not None) == refused
