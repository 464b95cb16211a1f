# SPDX-License-Identifier: Apache-2.0
"""Reading int8 files: every answer of the runtime lies within the bounds of its point, and what is
not known is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnx", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeguard.lab.verification import exact_scales
from edgeguard.lab.verification.net import Steps
from edgeguard.lab.verification.read import UnsupportedModel, read_net
from edgeguard.lab.verification.runtime import Runtime, check
from edgeguard.lab.zoo import quantize_onnx
from edgeguard.zoo import models_dir
from tests.lab.verification import toys
from tests.lab.verification.toys import node

PLAIN = models_dir() / "plain.onnx"


def golden() -> torch.Tensor:
    with np.load(models_dir() / "plain.golden.npz") as file:
        return torch.from_numpy(file["x"].astype(np.float64))


@pytest.mark.parametrize("name", ["plain", "robust", "certified"])
def test_answers_of_a_shipped_file_lie_within_the_bounds_of_their_point(name: str) -> None:
    net = read_net(models_dir() / f"{name}.onnx")
    found = check(Runtime.open(net), golden())
    assert (found.n, found.outside) == (8, 0)
    assert found.farthest <= 3  # float32 sums of the runtime may tip a rounding


@pytest.mark.parametrize("kind", toys.KINDS)
def test_short_scales_make_every_answer_the_integers_of_the_net(kind: str, tmp_path: Path) -> None:
    file = toys.make(kind, 7, tmp_path)
    exact_scales.make_exact(tmp_path / f"{kind}7.float.onnx", file)
    net = read_net(file)
    g = torch.Generator().manual_seed(0)
    q = torch.randint(-128, 128, (500, *toys.SHAPE), generator=g).double()
    found = check(Runtime.open(net), q)
    assert found.outside == 0
    if kind != "average":  # a mean of four halves a step: whose tie it is, is up to the runtime
        assert found.equal >= 0.998
    sums = [layer for layer in net.layers if isinstance(layer, Steps) and layer.exact.dim()]
    low, high = torch.full((1,), -128.0), torch.full((1,), 127.0)
    for layer in sums[1:]:  # the first reads pixels of scale 1/255
        ends = [end.double().expand(1, *_shape(net, layer)) for end in (low, high)]
        assert float(layer.error([ends[0]], [ends[1]]).max()) < 1e-2


def _shape(net, layer: Steps) -> tuple[int, ...]:  # type: ignore[no-untyped-def]
    source = layer.inputs[0]
    return net.shape if source == 0 else net.layers[source - 1].shape


def test_short_scales_are_short_and_not_smaller() -> None:
    for scale in np.random.default_rng(0).lognormal(-5, 3, 200):
        short = exact_scales.short(float(scale))
        assert scale <= short <= 1.5 * scale
        mantissa = np.frexp(short)[0]
        assert mantissa in (0.5, 0.75)


def changed(tmp_path: Path, change) -> Path:  # type: ignore[no-untyped-def]
    model = onnx.load(str(PLAIN))
    change(model.graph)
    onnx.save(model, str(tmp_path / "changed.onnx"))
    return tmp_path / "changed.onnx"


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    def change(graph) -> None:  # type: ignore[no-untyped-def]
        next(n for n in graph.node if n.op_type == "MaxPool").op_type = "LpPool"

    with pytest.raises(UnsupportedModel, match=r"changed\.onnx.*\(LpPool\).*known: Add, "):
        read_net(changed(tmp_path, change))


def test_another_scale_of_the_bias_is_refused(tmp_path: Path) -> None:
    def change(graph) -> None:  # type: ignore[no-untyped-def]
        scale = next(t for t in graph.initializer if t.name == "head.bias_quantized_scale")
        array = numpy_helper.to_array(scale) * np.float32(1.001)
        scale.CopyFrom(numpy_helper.from_array(array, scale.name))

    with pytest.raises(UnsupportedModel, match="bias has another scale"):
        read_net(changed(tmp_path, change))


CONSTANTS = {
    "s": np.float32(0.1), "z": np.int8(0), "t": np.float32(0.2), "w": np.ones((3, 4), np.int8),
    "three": np.float32([0.1, 0.2, 0.3]), "zeros": np.zeros(3, np.int8),
    "low": np.float32(-9.0), "high": np.float32(10.0), "c": np.float32([1.0, 2.0, 3.0]),
    "v": np.ones((3, 3), np.int8),
}  # fmt: skip
ENTRY = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d")]
GEMM = [node("DequantizeLinear", "w s z", "m"), node("Gemm", "d m", "g", transB=1)]
HIDDEN = [node("QuantizeLinear", "g s z", "h"), node("DequantizeLinear", "h s z", "k")]


@pytest.mark.parametrize("op", ["Clip", "Relu"])
def test_a_clip_before_a_constant_is_added_is_refused(op: str, tmp_path: Path) -> None:
    clip = node(op, "g low high" if op == "Clip" else "g", "r")
    nodes = [*ENTRY, *GEMM, clip, node("Add", "r c", "scores")]
    with pytest.raises(UnsupportedModel, match="Add of a constant behind a Relu, Clip or Reshape"):
        read_net(toys.write(tmp_path / "clip.onnx", nodes, CONSTANTS))


def test_scales_along_the_inputs_of_a_weight_are_refused(tmp_path: Path) -> None:
    """Square, so that only the axis tells that rows and columns are mixed up."""
    for axis, refused in ((0, False), (-2, False), (1, True)):
        nodes = [
            *ENTRY, *GEMM, *HIDDEN,
            node("DequantizeLinear", "v three zeros", "n", axis=axis),
            node("Gemm", "k n", "scores", transB=1),
        ]  # fmt: skip
        file = toys.write(tmp_path / f"axis{axis}.onnx", nodes, CONSTANTS)
        if not refused:
            read_net(file)
            continue
        with pytest.raises(UnsupportedModel, match="scales along axis 1; want axis 0"):
            read_net(file)


def two_branches(scale: str) -> list[onnx.NodeProto]:
    """The input is quantized once more, for a branch of its own."""
    return [
        *ENTRY, *GEMM, *HIDDEN, node("QuantizeLinear", f"x {scale} z", "q2"),
        node("DequantizeLinear", f"q2 {scale} z", "d2"),
        node("Gemm", "d2 m", "g2", transB=1),
        node("QuantizeLinear", "g2 s z", "h2"), node("DequantizeLinear", "h2 s z", "k2"),
        node("Add", "k k2", "sum"), node("QuantizeLinear", "sum s z", "o"),
        node("DequantizeLinear", "o s z", "scores"),
    ]  # fmt: skip


def test_an_input_that_two_branches_quantize_alike_is_read_in_both(tmp_path: Path) -> None:
    net = read_net(toys.write(tmp_path / "twice.onnx", two_branches("s"), CONSTANTS))
    q = torch.tensor([[40.0, -7.0, 3.0, 90.0]], dtype=torch.float64)
    assert net.run(q).tolist() == Runtime.open(net).run(q).tolist() == [[26.0] * 3]
    with pytest.raises(UnsupportedModel, match="quantized twice, on other grids"):
        read_net(toys.write(tmp_path / "other.onnx", two_branches("t"), CONSTANTS))


def test_a_branch_that_reads_the_float_input_itself_is_refused(tmp_path: Path) -> None:
    nodes = two_branches("s")
    raw = [n for n in nodes if n.output[0] not in ("q2", "d2")]
    next(n for n in raw if n.output[0] == "g2").input[0] = "x"
    with pytest.raises(UnsupportedModel, match="the input is not dequantized"):
        read_net(toys.write(tmp_path / "raw.onnx", raw, CONSTANTS))


def test_a_float_file_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="not int8"):
        read_net(models_dir() / "plain.float.onnx")


def test_no_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(UnsupportedModel, match=r"no\.onnx: cannot be read"):
        read_net(tmp_path / "no.onnx")


def qlinear_file(path: Path, kind: int) -> None:
    """uint8 QLinearConv, QLinearAdd, QLinearGlobalAveragePool and QGemm behind a float input, as
    other tools write them."""
    rng = np.random.default_rng(3)
    number = numpy_helper.from_array
    constants = {
        "s": np.float32(0.02), "z": np.uint8(120), "t": np.float32(0.05), "u": np.uint8(0),
        "w": rng.integers(-60, 60, (4, 2, 3, 3)).astype(np.int8),
        "ws": rng.uniform(0.005, 0.02, 4).astype(np.float32), "wz": np.zeros(4, np.int8),
        "v": rng.integers(-60, 60, (3, 4)).astype(np.int8),
        "vs": np.float32(0.01), "vz": np.int8(0),
        "b": rng.integers(-900, 900, 4).astype(np.int32),
    }  # fmt: skip
    micro = {"domain": "com.microsoft"}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "t", "u", "b"], ["c"],
                         pads=[1, 1, 0, 0], strides=[2, 2]),
        helper.make_node("QLinearAdd", ["c", "t", "u", "c", "t", "u", "t", "u"], ["a"], **micro),
        helper.make_node("QLinearGlobalAveragePool", ["a", "t", "u", "t", "u"], ["g"], **micro),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("QGemm", ["f", "t", "u", "v", "vs", "vz", "", "t", "z"], ["o"], transB=1,
                         **micro),
        helper.make_node("DequantizeLinear", ["o", "t", "z"], ["scores"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "qlinear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2, 7, 6])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 3])],
        [number(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", kind), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))


def test_a_qlinear_file_of_another_tool_is_read(tmp_path: Path) -> None:
    qlinear_file(tmp_path / "other.onnx", 17)
    net = read_net(tmp_path / "other.onnx")
    assert net.real_input and net.input.low == 0
    q = torch.randint(0, 256, (100, *net.shape), generator=torch.Generator().manual_seed(1))
    found = check(Runtime.open(net), q.double())
    assert found.outside == 0 and found.farthest <= 1
    assert len(torch.unique(net.run(q.double()))) > 10  # the answers differ, so that it tells


def test_the_grid_of_an_integer_input_is_that_of_its_first_operator(tmp_path: Path) -> None:
    qlinear_file(tmp_path / "other.onnx", 17)
    model = onnx.load(str(tmp_path / "other.onnx"))
    del model.graph.node[0]
    model.graph.node[0].input[0] = model.graph.input[0].name
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    onnx.save(model, str(tmp_path / "cut.onnx"))
    grid = read_net(tmp_path / "cut.onnx").input
    assert (grid.scale, grid.zero) == (pytest.approx(0.02), 120)


def test_the_quantizer_of_the_repository_is_what_made_the_toys(tmp_path: Path) -> None:
    net = read_net(toys.make("dense", 3, tmp_path))
    ends = quantize_onnx.quantization(tmp_path / "dense3.onnx")
    assert (net.input.scale, net.input.zero) == ends["image"]
    grid = net.grid(net.output)
    assert (grid.scale, grid.zero) == ends["scores"]
