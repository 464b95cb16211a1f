# SPDX-License-Identifier: Apache-2.0
"""What ONNX Runtime does otherwise than the operators of a file say: bounded, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")

import onnx
import torch

from edgeguard.lab.verification import crown
from edgeguard.lab.verification.interval import bounds
from edgeguard.lab.verification.read import UnsupportedModel, read_net
from edgeguard.lab.verification.runtime import Runtime, check
from tests.lab.verification import toys
from tests.lab.verification.toys import node

F32 = np.float32
UNIT = F32(0.05 / 255)  # input scale * weight scale
CONSTANTS = {
    "s": F32(1 / 255), "z": np.int8(-128), "ws": F32(0.05), "o": np.int8(0), "i": np.int32(0),
    "w": np.arange(-6, 6, dtype=np.int8).reshape(3, 4), "b": F32([0.4, -0.4, 0.3]) * UNIT,
    "ys": F32(2.5) * UNIT, "yz": np.int8(3), "ts": F32(1.7) * UNIT, "us": UNIT,
    "bq": np.int32([7, -9, 0]), "one": np.int32(1),
    "k": np.ones((3, 1, 2, 2), np.int8), "vt": np.ones((4, 3), np.int8),
}  # fmt: skip
ENTRY = [
    node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
    node("DequantizeLinear", "w ws o", "m"), node("DequantizeLinear", "vt ws o", "n"),
    node("DequantizeLinear", "k ws o", "c"),
]  # fmt: skip
END = [node("QuantizeLinear", "g ys yz", "h"), node("DequantizeLinear", "h ys yz", "scores")]
GEMM = node("Gemm", "d m", "g", transB=1)


def refused(path: Path, nodes: list[onnx.NodeProto], match: str, inside: tuple[int, ...] = (4,)
            ) -> None:  # fmt: skip
    with pytest.raises(UnsupportedModel, match=match):
        read_net(toys.write(path / "refused.onnx", nodes, CONSTANTS, inside))


BIASED = {
    "Gemm": ([node("Gemm", "d m b", "g", transB=1)], (4,)),
    "Relu": ([node("Gemm", "d m b", "r", transB=1), node("Relu", "r", "g")], (4,)),
    "MatMul": ([node("MatMul", "d n", "r"), node("Add", "r b", "g")], (4,)),
    "Conv": ([node("Conv", "d c b", "r"), node("Flatten", "r", "g")], (1, 2, 2)),
}


@pytest.mark.parametrize("kind", BIASED)
def test_a_float_bias_before_a_quantizer_is_refused(kind: str, tmp_path: Path) -> None:
    nodes, inside = BIASED[kind]
    refused(tmp_path, [*ENTRY, *nodes, *END], r"has a float bias.*quantize it: int32", inside)


def test_other_biases_are_read(tmp_path: Path) -> None:
    """A float one where no quantizer follows; an integer one, in a Gemm or behind a MatMul."""
    bias = node("DequantizeLinear", "bq us i", "e")
    for number, nodes in enumerate((
        [node("Gemm", "d m b", "scores", transB=1)],
        [bias, node("Gemm", "d m e", "g", transB=1), *END],
        [bias, node("MatMul", "d n", "r"), node("Add", "r e", "g"), *END],
    )):  # fmt: skip
        net = read_net(toys.write(tmp_path / f"{number}.onnx", [*ENTRY, *nodes], CONSTANTS))
        q = torch.randint(-128, 128, (300, 4), generator=torch.Generator().manual_seed(1)).double()
        assert check(Runtime.open(net), q).outside == 0


def test_constants_that_the_bounds_do_not_know_are_refused(tmp_path: Path) -> None:
    shifted = node("DequantizeLinear", "bq us one", "e")
    refused(tmp_path, [*ENTRY, shifted, node("Gemm", "d m e", "g", transB=1), *END],
            "the bias has a zero point")  # fmt: skip
    other = node("DequantizeLinear", "bq ws i", "e")
    refused(tmp_path, [*ENTRY, other, node("MatMul", "d n", "r"), node("Add", "r e", "g"), *END],
            "the bias has another scale")  # fmt: skip
    twice = [node("Add", "d ws", "r"), node("Add", "r us", "g")]
    refused(tmp_path, [*ENTRY, *twice, *END], "Add of a second constant")
    refused(tmp_path, [*ENTRY, node("Add", "d k", "g"), *END], r"adds a constant of shape")
    refused(tmp_path, [*ENTRY, node("Conv", "d c", "r"), node("Add", "r us", "g"), *END],
            "make it the Conv's bias", (1, 2, 2))  # fmt: skip


def test_the_sum_with_a_quantized_constant_lies_within_its_bounds(tmp_path: Path) -> None:
    """Scales and zero points of a file whose kernel is 30 times further off than one product."""
    rng = np.random.default_rng(52)
    za, zb, zc = (np.uint8(v) for v in rng.choice([0, 255, 28, 218], 3))
    ys = F32(0.01 * np.exp(rng.uniform(0, 1)))
    s, cs = (F32(ys * np.exp(rng.uniform(-1, 2))) for _ in range(2))
    every = np.tile(np.arange(256).astype(np.uint8), (256, 1))
    constants = {"s": s, "za": za, "cs": cs, "zb": zb, "ys": ys, "zc": zc, "c": every[None, None]}
    nodes = [
        node("QuantizeLinear", "x s za", "q"), node("DequantizeLinear", "q s za", "d"),
        node("DequantizeLinear", "c cs zb", "e"), node("Add", "d e", "g"),
        node("QuantizeLinear", "g ys zc", "h"), node("DequantizeLinear", "h ys zc", "k"),
        node("Flatten", "k", "scores"),
    ]  # fmt: skip
    file = toys.write(tmp_path / "c.onnx", nodes, constants, (1, 256, 256), {"scores": (65536,)})
    net = read_net(file)
    q = torch.arange(256).double()[:, None].expand(256, 256)[None, None]
    assert check(Runtime.open(net), q).outside == 0


def test_a_quantized_constant_without_axes_is_added(tmp_path: Path) -> None:
    nodes = [*ENTRY, node("DequantizeLinear", "five ws o", "e"), node("Add", "d e", "g"), *END]
    constants = CONSTANTS | {"five": np.int8(5)}
    net = read_net(toys.write(tmp_path / "one.onnx", nodes, constants, outputs={"scores": (4,)}))
    q = torch.randint(-128, 128, (300, 4), generator=torch.Generator().manual_seed(1)).double()
    assert check(Runtime.open(net), q).outside == 0


@pytest.mark.parametrize("between", ["", "Relu", "MaxPool", "Reshape"])
def test_a_second_quantizer_in_a_row_is_refused(between: str, tmp_path: Path) -> None:
    """ONNX Runtime left out the first one: two steps off in a quarter of the answers."""
    nodes = {
        "": [GEMM], "Relu": [GEMM],
        "MaxPool": [node("Conv", "d c", "g")], "Reshape": [node("Conv", "d c", "g")],
    }[between]  # fmt: skip
    inside = (1, 2, 2) if between in ("MaxPool", "Reshape") else (4,)
    last = {
        "": node("Identity", "f", "r"), "Relu": node("Relu", "f", "r"),
        "MaxPool": node("MaxPool", "f", "r", kernel_shape=[1, 1]),
        "Reshape": node("Flatten", "f", "r"),
    }[between]  # fmt: skip
    first = [node("QuantizeLinear", "g ys z", "h"), node("DequantizeLinear", "h ys z", "f")]
    second = [node("QuantizeLinear", "r ts z", "l"), node("DequantizeLinear", "l ts z", "scores")]
    refused(tmp_path, [*ENTRY, *nodes, *first, last, *second], "quantizes on another grid", inside)
    again = [node("QuantizeLinear", "r ys z", "l"), node("DequantizeLinear", "l ys z", "scores")]
    read_net(toys.write(tmp_path / "same.onnx", [*ENTRY, *nodes, *first, last, *again], CONSTANTS,
                        inside, {"scores": (3,)}))  # fmt: skip


def test_a_relu_that_changes_something_may_lie_between_two_grids(tmp_path: Path) -> None:
    nodes = [
        *ENTRY, GEMM, node("QuantizeLinear", "g ys yz", "h"), node("DequantizeLinear", "h ys yz",
        "f"), node("Relu", "f", "r"), node("QuantizeLinear", "r ts yz", "l"),
        node("DequantizeLinear", "l ts yz", "scores"),
    ]  # fmt: skip
    net = read_net(toys.write(tmp_path / "relu.onnx", nodes, CONSTANTS))
    q = torch.randint(-128, 128, (500, 4), generator=torch.Generator().manual_seed(1)).double()
    assert check(Runtime.open(net), q).outside == 0


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "Conv"])
def test_padding_that_the_operator_chooses_is_refused(kind: str, tmp_path: Path) -> None:
    pool = node(kind, "d c" if kind == "Conv" else "d", "g", kernel_shape=[2, 2],
                auto_pad="SAME_UPPER")  # fmt: skip
    refused(tmp_path, [*ENTRY, pool, *END], "auto_pad SAME_UPPER is not known", (1, 2, 2))


def test_the_type_of_a_quantizer_without_a_zero_point_is_read(tmp_path: Path) -> None:
    def written(kind: int, zero: str = "") -> Path:
        end = [
            node("QuantizeLinear", f"g ys{zero}", "h", output_dtype=kind),
            node("DequantizeLinear", f"h ys{zero}", "scores"),
        ]
        return toys.write(tmp_path / "o.onnx", [*ENTRY, GEMM, *end], CONSTANTS, opset=21)

    for kind, ends in ((0, (0, 255)), (onnx.TensorProto.UINT8, (0, 255)),
                       (onnx.TensorProto.INT8, (-128, 127))):  # fmt: skip
        grid = read_net(written(kind)).grid(1)
        assert (grid.low, grid.high) == ends
    for kind, name in ((onnx.TensorProto.INT16, "int16"), (99, "unknown")):
        with pytest.raises(UnsupportedModel, match=f"activations of type {name}"):
            read_net(written(kind))
    with pytest.raises(UnsupportedModel, match="output_dtype is uint8, its zero point is int8"):
        read_net(written(onnx.TensorProto.UINT8, " yz"))


def test_a_layer_of_which_nothing_is_open_is_not_refined(tmp_path: Path) -> None:
    net, _ = toys.opened("max", 1, tmp_path)
    q = torch.zeros(1, *toys.SHAPE).double()
    found = bounds(net, q, q)
    for layer in range(1, net.output + 1):  # fixed, as where the runtime's error is small
        found.low[layer] = found.high[layer]
    crown.refine(net, found, net.output - 1)
    assert bool((found.low[net.output] <= found.high[net.output]).all())
