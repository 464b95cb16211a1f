# SPDX-License-Identifier: Apache-2.0
"""Tiny ONNX models with known parameters, their cards and golden vectors, without edgeguard."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeguard.card import Card
from edgeguard.errors import ModelRefused
from edgeguard.inference.model import load_model

ROOT = Path(__file__).resolve().parents[2]
# cruise: an external member of the driving guard, a card without a model
SHIPPED = sorted(set(ROOT.glob("models/*/*.card.json")) - {ROOT / "models/drive/cruise.card.json"})
DATA = Path(os.environ.get("EDGEGUARD_DATA", ROOT.parent / "shared" / "data"))
SHAPE = (1, 3, 4, 4)
PIXELS, CLASSES, WIDTH = 48, 5, 8
IN_SCALE, IN_ZERO = 1 / 255, -128
OUT_SCALE, OUT_ZERO = 0.05, -10
ONNX_TYPE = {"int8": TensorProto.INT8, "float32": TensorProto.FLOAT}


def weights(seed: int = 3) -> dict[str, Any]:
    """Float weights of a two-layer net; scores reach about -4 .. 4."""
    rng = np.random.default_rng(seed)
    return {
        "w1": rng.normal(0, 0.25, (PIXELS, WIDTH)).astype(np.float32),
        "w2": rng.normal(0, 1.0, (WIDTH, CLASSES)).astype(np.float32),
        "b2": np.zeros(CLASSES, np.float32),
    }


def build(parts: dict[str, Any], ends: str = "int8", embedding: bool = True) -> bytes:
    """Flatten, Gemm, Relu, Gemm between quantized ends (``int8``), a float end with a step
    (``step``), plain floats (``float``) or a softmax (``softmax``)."""
    quantized_in = ends in ("int8", "step")
    nodes, constants = [], dict(parts)
    constants |= {"si": np.float32(IN_SCALE), "zi": np.int8(IN_ZERO)}
    constants |= {"so": np.float32(OUT_SCALE), "zo": np.int8(OUT_ZERO)}
    if quantized_in:
        nodes.append(helper.make_node("DequantizeLinear", ["image", "si", "zi"], ["real"]))
    nodes += [
        helper.make_node("Flatten", ["real" if quantized_in else "image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "w2", "b2"], ["logits"]),
    ]
    last = {"float": ["Identity"], "softmax": ["Softmax"]}.get(ends, ["QuantizeLinear"])
    if ends == "step":
        last.append("DequantizeLinear")
    before = "logits"
    for index, op in enumerate(last):
        name = "scores" if index == len(last) - 1 else "steps"
        nodes.append(
            helper.make_node(op, [before] + ["so", "zo"] * ("Quant" in op or "Dequ" in op), [name])
        )
        before = name
    kind = ONNX_TYPE["int8" if ends == "int8" else "float32"]
    outputs = [helper.make_tensor_value_info("scores", kind, [1, CLASSES])]
    if embedding:
        outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, WIDTH]))
    entry = ONNX_TYPE["int8" if quantized_in else "float32"]
    return serialize(
        nodes, [helper.make_tensor_value_info("image", entry, SHAPE)], outputs, constants
    )


def serialize(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]
) -> bytes:
    """An ONNX file that old runtimes load too."""
    tensors = [
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def images(count: int = 4, seed: int = 9, dtype: str = "int8") -> Any:
    """Random inputs [count, 3, 4, 4] as fed to the model."""
    rng = np.random.default_rng(seed)
    if dtype == "int8":
        return rng.integers(-128, 128, (count, *SHAPE[1:])).astype(np.int8)
    return rng.random((count, *SHAPE[1:])).astype(np.float32)


def reference(data: bytes, inputs: Any) -> Any:
    """Raw scores [N, n] by a plain session.run."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["scores"], {"image": x[None]})[0] for x in inputs])


def write(
    folder: Path, data: bytes, ends: str = "int8", scores: Any = None, **changes: Any
) -> Path:
    """Write all three files; ``scores`` replaces the golden ones, ``changes`` keys of the card."""
    whole = ends == "int8"
    inputs = images(dtype="int8" if ends in ("int8", "step") else "float32")
    (folder / "tiny.onnx").write_bytes(data)
    scores = reference(data, inputs) if scores is None else scores
    np.savez(folder / "tiny.golden.npz", x=inputs, scores=scores)
    entry: dict[str, Any] = {"layout": "CHW", "dtype": str(inputs.dtype), "size": [4, 4]}
    if inputs.dtype == np.int8:
        entry |= {"scale": IN_SCALE, "zero_point": IN_ZERO}
    first = {"name": "scores", "kind": "probabilities" if ends == "softmax" else "logits"}
    first |= {"dtype": "int8" if whole else "float32", "size": CLASSES}
    if whole:
        first |= {"scale": OUT_SCALE, "zero_point": OUT_ZERO}
    second = {"name": "embedding", "kind": "embedding", "dtype": "float32", "size": WIDTH}
    card = {
        "name": "tiny", "file": "tiny.onnx", "runtime": "onnx", "task": "classifier",
        "sha256": hashlib.sha256(data).hexdigest(), "labels": list("abcde"), "input": entry,
        "outputs": [first, second],
        "golden": {"file": "tiny.golden.npz", "sha256": digest(folder / "tiny.golden.npz")},
    }  # fmt: skip
    card |= changes
    path = folder / "tiny.card.json"
    path.write_text(json.dumps(card))
    return path


def tiny(folder: Path, **changes: Any) -> Card:
    """The card of the usual int8 model, written into ``folder``."""
    return Card.load(write(folder, build(weights()), **changes))


def digest(path: Path) -> str:
    """SHA-256 of a file in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refusal(card: Card, *arguments: Any) -> str:
    """The text with which a model is refused."""
    with pytest.raises(ModelRefused) as caught:
        load_model(card, *arguments)
    return str(caught.value)
