# SPDX-License-Identifier: Apache-2.0
"""Files as others make them: what the surrogate reads of them is what their runtime does, and what
it does not know is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from edgeguard.card import Card
from edgeguard.errors import ModelRefused
from edgeguard.lab.attacks.victim import Victim
from edgeguard.lab.surrogate import Surrogate, agrees, deployed, require
from edgeguard.zoo import models_dir
from tests.lab.signs import signs

Nodes = list[tuple[str, list[str], str]]
SCALES = {"si": np.float32(1 / 64), "sw": np.float32(0.01), "so": np.float32(0.03)}
BYTES = {"zu": np.uint8(128), "zi": np.int8(3), "z16": np.int16(0)}


def toy(path: Path, nodes: Nodes, constants: dict[str, Any], kind: int = TensorProto.UINT8) -> Path:
    """A file with one input x [1, 8] and one output y, of the same type."""
    weights = np.random.default_rng(0).integers(-127, 128, (8, 5)).astype(np.int8)
    held = SCALES | BYTES | {"w": weights, "z0": np.int8(0)} | constants
    read = {name for _, inputs, _ in nodes for name in inputs}
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [output]) for op, inputs, output in nodes], "toy",
        [helper.make_tensor_value_info("x", kind, [1, 8])],
        [helper.make_tensor_value_info("y", kind, [1, 5])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in held.items() if n in read],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


WEIGHTS = ("DequantizeLinear", ["w", "sw", "z0"], "dw")
BIAS = np.array([0.4, -0.2, 0.1, 0.0, -0.7], np.float32)


def product(entry: list[str], leave: list[str], *between: tuple[str, list[str], str]) -> Nodes:
    """x times w, then what stands between it and the last quantizer."""
    last = between[-1][2] if between else "m"
    return [("DequantizeLinear", ["x", *entry], "dx"), WEIGHTS, ("MatMul", ["dx", "dw"], "m"),
            *between, ("QuantizeLinear", [last, *leave], "y")]  # fmt: skip


def gemm() -> Nodes:
    """x times w plus b."""
    return [*product(["si", "zu"], [])[:2], ("Gemm", ["dx", "dw", "b"], "m"),
            ("QuantizeLinear", ["m", "so", "zu"], "y")]  # fmt: skip


@pytest.mark.parametrize(("nodes", "constants"), [
    (product(["si"], ["so"]), {}),
    (product(["si", "zu"], ["so"]), {}),
    (product(["si", "zu"], ["so", "zu"], ("Add", ["m", "b"], "a")), {"b": BIAS}),
    (gemm(), {"b": BIAS}),
    (product(["si", "zu"], ["so", "zu"], ("QuantizeLinear", ["m", "so", "zu"], "q"),
             ("DequantizeLinear", ["q", "so", "zu"], "dq"),
             ("DequantizeLinear", ["b", "sb"], "db"), ("Add", ["dq", "db"], "a")),
     {"b": np.arange(-2, 3, dtype=np.int8), "sb": np.float32(0.1)}),
], ids=["no zero points", "none at the end", "a summand", "a bias", "quantized"])  # fmt: skip
def test_what_strangers_write_is_read(nodes: Nodes, constants: Any, tmp_path: Path) -> None:
    """Zero points are optional in ONNX, and a bias may be an Add."""
    path = toy(tmp_path / "toy.onnx", nodes, constants)
    x = np.random.default_rng(1).integers(0, 256, (200, 8)).astype(np.uint8)
    found = agrees(Surrogate.load(path), deployed(path), x)
    require(found)
    assert len(np.unique(deployed(path)(x)[0])) > 20


@pytest.mark.parametrize(("nodes", "constants", "said"), [
    (product(["si", "zu"], ["so", "zu"], ("QuantizeLinear", ["m", "so", "z16"], "q"),
             ("DequantizeLinear", ["q", "so", "z16"], "r")), {}, "q: is int16; known: int8, uint8"),
    (gemm(), {"b": np.ones((4, 5), np.float32)}, r"Gemm adds 'b' of shape \[4, 5\]"),
    (product(["si", "zu"], ["so", "zu"], ("Identity", ["so"], "s2"),
             ("QuantizeLinear", ["m", "s2", "zu"], "q"),
             ("DequantizeLinear", ["q", "s2", "zu"], "r")), {}, "'s2' is computed"),
], ids=["16 bits", "a matrix as a bias", "a computed scale"])  # fmt: skip
def test_what_is_not_known_of_a_strangers_file_is_named(
    nodes: Nodes, constants: Any, said: str, tmp_path: Path
) -> None:
    path = toy(tmp_path / "toy.onnx", nodes, constants)
    with pytest.raises(ModelRefused, match=said) as caught:
        Surrogate.load(path)
    assert "toy.onnx" in str(caught.value)


def tflite_sum(path: Path, constant: bool) -> Path:
    """x [1, 2, 2, 3] plus a constant [1, 1, 1, 3], int8; else plus what nothing makes."""

    def tensor(name: str, shape: list[int], scale: float, zero: int, buffer: int) -> Any:
        t, q = schema.TensorT(), schema.QuantizationParametersT()
        q.scale, q.zeroPoint = [scale], [zero]
        t.name, t.shape, t.type, t.buffer = name, shape, schema.TensorType.INT8, buffer
        t.quantization = q
        return t

    model, graph, node, code = (
        schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT(),
    )  # fmt: skip
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 2
    node.opcodeIndex, node.inputs, node.outputs = 0, [0, 1], [2]
    node.builtinOptionsType = schema.BuiltinOptions.AddOptions
    node.builtinOptions = schema.AddOptionsT()
    graph.tensors = [tensor("x", [1, 2, 2, 3], 0.02, -5, 0), tensor("c", [1, 1, 1, 3], 0.011, 7, 1),
                     tensor("y", [1, 2, 2, 3], 0.03, 2, 0)]  # fmt: skip
    graph.inputs, graph.outputs, graph.operators = [0], [2], [node]
    buffers = [schema.BufferT(), schema.BufferT()]
    if constant:
        buffers[1].data = np.array([100, -30, 5], np.int8).view(np.uint8)
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_a_constant_summand_of_a_tflite_file_is_read(tmp_path: Path) -> None:
    path = tflite_sum(tmp_path / "sum.tflite", constant=True)
    x = np.random.default_rng(2).integers(-128, 128, (50, 2, 2, 3)).astype(np.int8)
    found = agrees(Surrogate.load(path), deployed(path), x)
    assert (found.n, found.largest_steps) == (50, 0)


def test_a_tensor_that_nothing_makes_is_named(tmp_path: Path) -> None:
    path = tflite_sum(tmp_path / "sum.tflite", constant=False)
    with pytest.raises(ModelRefused, match=r"sum\.tflite: tensor '1' is read, but no layer"):
        Surrogate.load(path)


def test_scores_beside_an_embedding_are_what_the_softmax_reads(tmp_path: Path) -> None:
    """A softmax behind the scores of `plain`: the probabilities of a sure model have no
    gradient."""
    model = onnx.load(str(models_dir() / "plain.onnx"))
    card = Card.beside(models_dir() / "plain.onnx")
    assert card.embedding is not None
    scores = card.scores.name
    for node in model.graph.node:
        node.output[:] = ["logits" if name == scores else name for name in node.output]
    shape = [1, card.scores.size]
    model.graph.node.extend([
        helper.make_node("DequantizeLinear", ["logits", "ls", "lz"], ["real"]),
        helper.make_node("Softmax", ["real"], [scores]),
    ])  # fmt: skip
    model.graph.initializer.extend([
        numpy_helper.from_array(np.float32(card.scores.scale), "ls"),
        numpy_helper.from_array(np.int8(card.scores.zero_point), "lz"),
    ])  # fmt: skip
    end = next(v for v in model.graph.output if v.name == scores)
    end.CopyFrom(helper.make_tensor_value_info(scores, TensorProto.FLOAT, shape))
    onnx.save(model, str(tmp_path / "soft.onnx"))

    pixels = signs(12)[0]
    soft = Victim(tmp_path / "soft.onnx", pixels, None)
    own, names = Surrogate.load(models_dir() / "plain.onnx"), (scores, card.embedding.name)
    x = soft.pixels(torch.from_numpy(pixels.astype(np.float32) / 255))
    wanted, embedding = own.both(x, *names)
    got = soft.surrogate.both(x, *names)
    torch.testing.assert_close(got[0], wanted)
    torch.testing.assert_close(got[1], embedding)
    assert (got[0] - soft.surrogate.scores(x)).abs().max() == 0
    assert got[0].amin() < -1
