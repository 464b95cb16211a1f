# SPDX-License-Identifier: Apache-2.0
"""The integers of pictures are those that the guard's own preprocessing makes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")

import torch

from edgeguard.card import Card
from edgeguard.errors import EdgeguardError
from edgeguard.intake.preprocess import InputSpec, Preprocessor
from edgeguard.lab.verification.net import Net
from edgeguard.lab.verification.pixels import Pixels
from edgeguard.lab.verification.read import read_net
from tests.lab.verification import toys
from tests.lab.verification.toys import node

HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}
SCALE, ZERO = float(np.float32(2 / 255)), -1  # of -1..1: every grey level is a tie


def made(folder: Path, layout: str, colour: str, **entry: Any) -> tuple[Net, Card]:
    """A file that takes pictures of 4 x 5 as float32 or int8, and its card."""
    size = [4, 5]
    inside = (3, *size) if layout == "CHW" else (*size, 3)
    constants = {
        "s": np.float32(SCALE), "z": np.int8(ZERO), "o": np.int8(0), "t": np.float32(0.5),
        "w": np.ones((60, 3), np.int8),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
        node("Flatten", "d", "f"), node("DequantizeLinear", "w s o", "m"),
        node("MatMul", "f m", "g"), node("QuantizeLinear", "g t o", "h"),
        node("DequantizeLinear", "h t o", "scores"),
    ]  # fmt: skip
    if entry["dtype"] == "int8":
        nodes[1].input[0] = "x"
        nodes = nodes[1:]
    kind = "INT8" if entry["dtype"] == "int8" else "FLOAT"
    file = toys.write(folder / "m.onnx", nodes, constants, inside, kind=kind)
    (folder / "m.card.json").write_text(json.dumps({
        "name": "m", "task": "classifier", "runtime": "onnx", "file": "m.onnx",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "labels": ["a", "b", "c"],
        "input": {"layout": layout, "size": size, "colour": colour, "scale": SCALE,
                  "zero_point": ZERO, **entry},
        "outputs": [{"name": "scores", "dtype": "float32", "kind": "logits", "size": 3}],
    }))  # fmt: skip
    return read_net(file), Card.load(folder / "m.card.json")


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize(("layout", "colour"), [("CHW", "RGB"), ("HWC", "BGR")])
def test_a_picture_becomes_the_integers_of_the_preprocessing(
    layout: str, colour: str, dtype: str, tmp_path: Path
) -> None:
    mean = {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.5]}
    for number, values in enumerate((HALF, mean)):
        folder = tmp_path / str(number)
        folder.mkdir()
        net, card = made(folder, layout, colour, dtype=dtype, **values)
        spec = InputSpec.of(card.input)
        tensor, pixels = spec.empty(), Pixels.of(net)
        plan = Preprocessor(spec, 4, 5, "RGB", statistics=False)
        for x in np.random.default_rng(0).integers(0, 256, (100, 4, 5, 3), dtype=np.uint8):
            plan.run(x, tensor)
            wanted = torch.from_numpy(tensor[0].copy())
            wanted = net.input.steps(wanted) if dtype == "float32" else wanted.double()
            assert torch.equal(pixels.integers(x[None])[0], wanted)


def test_a_card_of_another_input_is_refused(tmp_path: Path) -> None:
    net, _ = made(tmp_path, "CHW", "RGB", dtype="float32")
    path = tmp_path / "m.card.json"
    whole = json.loads(path.read_text())
    for changed, message in (
        ({"dtype": "int8"}, r"takes float32 \[3, 4, 5\], its card says int8 \[3, 4, 5\]"),
        ({"size": [5, 4]}, r"its card says float32 \[3, 5, 4\]"),
        ({"layout": "VECTOR", "size": [60]}, "takes no picture"),
    ):
        path.write_text(json.dumps({**whole, "input": {**whole["input"], **changed}}))
        with pytest.raises(EdgeguardError, match=message):
            Pixels.of(net)


def test_a_file_without_a_card_takes_shares_of_255(tmp_path: Path) -> None:
    net, _ = made(tmp_path, "HWC", "RGB", dtype="float32")
    (tmp_path / "m.card.json").unlink()
    pixels = Pixels.of(net)
    assert pixels.layout == "HWC" and not pixels.swap
    share = torch.arange(256, dtype=torch.float32) / 255
    assert torch.equal(pixels.table, net.input.steps(share).expand(3, -1))
