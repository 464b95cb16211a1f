# SPDX-License-Identifier: Apache-2.0
"""What the verifier cannot read in the files of other tools is refused by name, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")

import onnx

from edgeguard.lab.verification.read import UnsupportedModel, read_net
from tests.lab.verification import toys
from tests.lab.verification.toys import node

CONSTANTS = {
    "s": np.float32(0.1), "z": np.int8(0), "t": np.float32(0.2), "half": np.float16(0.1),
    "w": np.ones((3, 4), np.int8), "zeros": np.zeros(3, np.int8),
    "gone": np.float32([0.1, 0, 0.1]), "none": np.float32([0.1, np.nan, 0.1]),
    "k": np.ones((2, 3, 1, 1), np.int8),
}  # fmt: skip
ENTRY = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d")]
WEIGHT, GEMM = node("DequantizeLinear", "w s z", "m"), node("Gemm", "d m", "g", transB=1)
END = [node("QuantizeLinear", "g s z", "h"), node("DequantizeLinear", "h s z", "scores")]
PLAIN = [*ENTRY, WEIGHT, GEMM, *END]


def refused(path: Path, nodes: list[onnx.NodeProto], match: str, **more: Any) -> None:
    with pytest.raises(UnsupportedModel, match=match):
        read_net(toys.write(path / "m.onnx", nodes, CONSTANTS, **more))


def test_a_batch_that_is_fixed_above_one_is_refused(tmp_path: Path) -> None:
    file = toys.write(tmp_path / "m.onnx", PLAIN, CONSTANTS)
    model = onnx.load(str(file))
    for size in (1, 2):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size
        onnx.save(model, str(file))
        if size == 1:
            read_net(file)
            continue
        with pytest.raises(UnsupportedModel, match=r"m\.onnx: input x has a fixed batch of 2"):
            read_net(file)


def test_an_input_of_another_type_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, PLAIN, "input x is float16; export it as float32, int8 or uint8",
            kind="FLOAT16")  # fmt: skip


@pytest.mark.parametrize(("at", "changed"), [
    (0, node("QuantizeLinear", "x half z", "q")),
    (1, node("DequantizeLinear", "q half z", "d")),
    (2, node("DequantizeLinear", "w half z", "m")),
])  # fmt: skip
def test_scales_that_are_not_float32_are_refused(
    at: int, changed: onnx.NodeProto, tmp_path: Path
) -> None:
    """What is multiplied by one of float16 is rounded to 11 bits, which no bound allows for."""
    nodes = [changed if number == at else one for number, one in enumerate(PLAIN)]
    refused(tmp_path, nodes, f"node {changed.output[0]} .*the scale is float16.*want float32")


@pytest.mark.parametrize(("name", "value"), [("gone", "0.0"), ("none", "nan")])
def test_a_channel_without_a_scale_is_refused(name: str, value: str, tmp_path: Path) -> None:
    weight = node("DequantizeLinear", f"w {name} zeros", "m", axis=0)
    refused(tmp_path, [*ENTRY, weight, GEMM, *END], rf"node m .*a scale is {value}")


@pytest.mark.parametrize("pool", [
    node("MaxPool", "d", "p", kernel_shape=[2]), node("AveragePool", "d", "p", kernel_shape=[2]),
    node("GlobalAveragePool", "d", "p"), node("Conv", "d c", "p"),
])  # fmt: skip
def test_operators_on_one_dimension_are_refused(pool: onnx.NodeProto, tmp_path: Path) -> None:
    nodes = [*ENTRY, node("DequantizeLinear", "k s z", "c"), pool, node("Flatten", "p", "g"), *END]
    refused(tmp_path, nodes, rf"\({pool.op_type}\): reads a tensor of shape \[3, 4\]",
            inside=(3, 4))  # fmt: skip


def test_scores_that_are_dequantized_on_another_grid_are_refused(tmp_path: Path) -> None:
    other = [*PLAIN[:-1], node("DequantizeLinear", "h t z", "scores")]
    refused(tmp_path, other, "output scores: its DequantizeLinear has another scale")
