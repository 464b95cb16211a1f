# SPDX-License-Identifier: Apache-2.0
"""The steering networks: what a run goes on from, and their files, from untrained ones."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra lab")
pytest.importorskip("onnxruntime.quantization", reason="the extra lab")

from edgeguard.errors import EdgeguardError  # noqa: E402
from edgeguard.lab.drive import make, nets, train  # noqa: E402
from edgeguard.lab.zoo import quantize_tflite, runners  # noqa: E402
from edgeguard.zoo import models_dir  # noqa: E402


def test_a_file_calibrated_on_bends_to_the_left_steers_to_the_right_as_well(tmp_path: Path) -> None:
    """A road that is always on the left of the picture, and a network that likes it there."""
    kind = nets.KINDS["grey"]
    net = nets.fresh(kind, 0).eval()
    rng = np.random.default_rng(0)
    x = rng.integers(0, 60, (40, 1, *kind.size), np.uint8)
    x[..., : kind.size[1] // 2] += 120
    with torch.no_grad():  # 0.8 for the one, -0.8 for the other
        left, right = (
            net(torch.from_numpy(runners.to_float(one)))[1].mean(0)
            for one in (x, np.ascontiguousarray(x[..., ::-1]))
        )
        apart = left - right
        net.head.weight.copy_((1.6 * apart / (apart @ apart))[None])
        net.head.bias.copy_(-net.head.weight @ (left + right) / 2)
    found = make.export(kind, net, tmp_path / "float.onnx", tmp_path / "int8.onnx", x)
    scale, zero = found["scores"]
    assert (-128 - zero) * scale == -1.0 and 1 - scale <= (127 - zero) * scale <= 1.0
    for pictures in (x, np.ascontiguousarray(x[..., ::-1])):
        fed = np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))
        int8 = (runners.run(tmp_path / "int8.onnx", fed)[0].astype(float) - zero) * scale
        wanted = np.clip(runners.run(tmp_path / "float.onnx", fed)[0], -1.0, 1.0)
        assert np.abs(int8 - wanted).max() < 0.08


def ends(model: Any) -> tuple[float, int]:
    """Scale and zero point of the steering."""
    tensors = {t.name: t.quantization for t in model.subgraphs[0].tensors}
    return float(tensors[b"scores"].scale[0]), int(tensors[b"scores"].zeroPoint[0])


def test_a_tflite_file_is_given_all_of_the_range(tmp_path: Path) -> None:
    """The shipped one, read as the quantizer's own tools read it."""
    tools = pytest.importorskip("ai_edge_litert.tools.flatbuffer_utils", reason="the extra litert")
    shipped = models_dir("drive") / "colour.tflite"
    model = tools.read_model_from_bytearray(shipped.read_bytes())
    scale, zero = ends(model)
    make.full_range(model)
    file = tmp_path / "colour.tflite"
    file.write_bytes(quantize_tflite.written(model))
    assert ends(tools.read_model_from_bytearray(file.read_bytes())) == (make.SCALE, 0)
    with np.load(shipped.with_suffix(".golden.npz")) as golden:
        pictures = (golden["x"].reshape(-1, 48, 48, 3).astype(np.int16) + 128).astype(np.uint8)
    before, after = (runners.run(f, pictures)[0].reshape(-1).astype(int) for f in (shipped, file))
    free = (before > -128) & (before < 127)
    assert free.any()
    apart = after * make.SCALE - np.clip((before - zero) * scale, -1.0, 1.0)
    assert np.abs(apart[free]).max() < 0.02


@pytest.mark.skipif(find_spec("litert_torch") is not None, reason="the extra lab-tflite is there")
def test_what_cannot_be_written_is_not_trained_first(tmp_path: Path) -> None:
    with pytest.raises(EdgeguardError, match=r"colour: .*lab-tflite.*lab train drive grey hard"):
        make.make(("grey", "colour", "hard"), tmp_path / "work", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def run_of(name: str, n: int = 300, epochs: int = 2) -> train.Run:
    """On noise; `hard` draws from torch's generator as well."""
    kind = nets.KINDS[name]
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (n, 1 if kind.colour == "GRAY" else 3, *kind.size), np.uint8)
    return train.Run(kind, x, rng.uniform(-1, 1, n).astype(np.float32), epochs, make.SEED)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = run_of("hard")
    held = whole.x.numpy()[:20], whole.y.numpy()[:20]
    train.train(whole, held, tmp_path / "whole.pt")
    stopped = run_of("hard")
    stopped.one_epoch()
    stopped.save(tmp_path / "hard.pt")
    torch.rand(7)  # whatever else went on meanwhile
    again = run_of("hard")
    found = train.train(again, held, tmp_path / "hard.pt")
    assert again.epoch == 2 and again.seconds > stopped.seconds
    for name, weights in whole.net.state_dict().items():
        assert torch.equal(weights, found.net.state_dict()[name])
    for other in (run_of("hard", epochs=3), run_of("grey"), run_of("hard", n=310)):
        with pytest.raises(EdgeguardError, match=r"hard\.pt: was not made with the"):
            train.train(other, held, tmp_path / "hard.pt")


def test_what_is_stopped_while_it_is_written_leaves_the_old_files(tmp_path: Path) -> None:
    run = run_of("grey")
    trained = train.Trained(run.net.eval(), 1.0, 0.5)
    x, y = run.x.numpy(), run.y.numpy()
    card = make.publish(run.kind, trained, x, (x[:20], y[:20]), 2, tmp_path)
    names = ("grey.card.json", "grey.float.onnx", "grey.golden.npz", "grey.onnx")
    old = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert sorted(old) == sorted(names)
    assert card["sha256"] == runners.digest(tmp_path / "grey.onnx")
    other = train.Trained(nets.fresh(run.kind, 9).eval(), 1.0, 0.5)
    with pytest.raises(ValueError):  # when its model was made: too little steering to judge it
        make.publish(run.kind, other, x, (x[:20], y[:3]), 2, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == old
