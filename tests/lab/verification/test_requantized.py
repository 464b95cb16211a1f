# SPDX-License-Identifier: Apache-2.0
"""Products that ONNX Runtime computes from an input which it quantizes again are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")

import onnx
import onnxruntime as ort

from edgeguard.lab.verification.read import UnsupportedModel, read_net
from tests.lab.verification import toys
from tests.lab.verification.toys import node

RNG = np.random.default_rng(0)
CONSTANTS = {
    "s": np.float32(0.5), "v": np.float32(0.25), "t": np.float32(0.125), "u": np.float32(2),
    "z": np.int8(0),
    "w": RNG.integers(-99, 99, (64, 10)).astype(np.int8),
    "wt": RNG.integers(-99, 99, (10, 64)).astype(np.int8),
    "b": RNG.normal(size=10).astype(np.float32), "bq": np.arange(10, dtype=np.int32),
    "one": np.int32(7), "i": np.int32(0), "row": np.arange(10, dtype=np.int32)[None],
}  # fmt: skip
ENTRY = [
    node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
    node("DequantizeLinear", "w v z", "m"), node("DequantizeLinear", "wt v z", "n"),
    node("DequantizeLinear", "bq t i", "c"), node("DequantizeLinear", "one t i", "e"),
    node("DequantizeLinear", "row t i", "f"),
]  # fmt: skip
APART = node("Flatten", "d", "j")
FLAT = [node("Flatten", "q", "r0"), node("DequantizeLinear", "r0 s z", "j")]
PRODUCTS = {
    "MatMul": [node("MatMul", "j m", "g")],
    "MatMul, bias": [node("MatMul", "j m", "p"), node("Add", "p c", "g")],
    "MatMul, bias [1, N]": [node("MatMul", "j m", "p"), node("Add", "f p", "g")],
    "MatMul, one bias": [node("MatMul", "j m", "p"), node("Add", "p e", "g")],
    "MatMul, float bias": [node("MatMul", "j m", "p"), node("Add", "p b", "g")],
    "Gemm": [node("Gemm", "j m", "g")],
    "Gemm, bias": [node("Gemm", "j m c", "g")],
    "Gemm, float bias": [node("Gemm", "j m b", "g")],
    "transB": [node("Gemm", "j n c", "g", transB=1)],
    "transB, float bias": [node("Gemm", "j n b", "g", transB=1)],
}


def end(name: str, scores: str = "scores") -> list[onnx.NodeProto]:
    """A quantizer, back to float."""
    return [node("QuantizeLinear", f"{name} u z", f"{scores}q"),
            node("DequantizeLinear", f"{scores}q u z", scores)]  # fmt: skip


ENDS = {
    "float": [node("Identity", "g", "scores")],
    "quantizer": end("g"),
    "two quantizers": [*end("g"), *end("g", "more")],
    "Relu": [node("Relu", "g", "r"), *end("r")],
    "Relu, two quantizers": [node("Relu", "g", "r"), *end("r"), *end("r", "more")],
    "Flatten": [node("Flatten", "g", "r"), *end("r")],
}


def written(path: Path, *parts: list[onnx.NodeProto]) -> Path:
    """What leads to scores, and to more if there is any."""
    nodes = [n for part in (ENTRY, *parts) for n in part]
    outputs = {k: (10,) for k in ("more", "scores") if any(n.output[0] == k for n in nodes)}
    read = {name for n in nodes for name in n.input} | set(outputs)
    return toys.write(path, [n for n in nodes if n.output[0] in read], CONSTANTS, (16, 2, 2),
                      outputs)  # fmt: skip


def requantizes(file: Path) -> bool:
    """Whether the runtime that is here does so."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(file.with_suffix(".made.onnx"))
    ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    made = onnx.load(options.optimized_model_filepath).graph.node
    return any(n.op_type in ("MatMulNBits", "DynamicQuantizeMatMul") for n in made)


def refused(file: Path) -> str:
    """Why a file is refused; nothing if it is read."""
    try:
        read_net(file)
    except UnsupportedModel as error:
        return str(error)
    return ""


@pytest.mark.parametrize("after", ENDS)
@pytest.mark.parametrize("product", PRODUCTS)
def test_what_the_runtime_quantizes_again_is_refused(
    product: str, after: str, tmp_path: Path
) -> None:
    file = written(tmp_path / "apart.onnx", [APART], PRODUCTS[product], ENDS[after])
    assert refused(file) or not requantizes(file)
    if after in ("float", "Flatten") and product[:6] != "transB" and "[1, N]" not in product:
        assert requantizes(file)  # or the test above says nothing
    right = written(tmp_path / "right.onnx", FLAT, PRODUCTS[product], ENDS[after])
    assert not requantizes(right)


def test_it_is_named_with_what_to_do(tmp_path: Path) -> None:
    for number, (product, after) in enumerate((("Gemm", "float"), ("MatMul", "Flatten"),
                                               ("MatMul, one bias", "quantizer"))):  # fmt: skip
        file = written(tmp_path / f"{number}.onnx", [APART], PRODUCTS[product], ENDS[after])
        kind = product.partition(",")[0]
        assert f"({kind}): ONNX Runtime may quantize its input again" in refused(file)
        assert "quantize what it makes, or make it a Gemm with transB=1" in refused(file)


@pytest.mark.parametrize(("product", "after"), [
    ("transB", "float"), ("transB, float bias", "float"), ("transB", "Flatten"),
    ("MatMul", "quantizer"), ("MatMul", "two quantizers"), ("MatMul", "Relu"),
    ("MatMul, bias", "quantizer"), ("MatMul, bias [1, N]", "Relu"), ("Gemm, bias", "Relu"),
])  # fmt: skip
def test_what_it_does_not_is_read(product: str, after: str, tmp_path: Path) -> None:
    file = written(tmp_path / "apart.onnx", [APART], PRODUCTS[product], ENDS[after])
    assert refused(file) == ""


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_dequantizer_right_before_it_keeps_it_from_that(product: str, tmp_path: Path) -> None:
    file = written(tmp_path / "right.onnx", FLAT, PRODUCTS[product], ENDS["float"])
    assert refused(file) == ""
