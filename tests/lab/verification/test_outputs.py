# SPDX-License-Identifier: Apache-2.0
"""Which output of a file holds the scores, and scores that are no vector."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")

from click.testing import CliRunner

from edgeguard.cli.lab_verify import command
from edgeguard.errors import EdgeguardError
from edgeguard.lab.verification import report
from edgeguard.lab.verification.properties import judge, read_properties
from edgeguard.lab.verification.read import UnsupportedModel, read_net
from edgeguard.lab.verification.runtime import Runtime
from edgeguard.zoo import models_dir
from tests.lab.verification import toys
from tests.lab.verification.toys import node

CONSTANTS = {
    "s": np.float32(1 / 255), "z": np.int8(-128), "o": np.int8(0), "w": np.eye(3, dtype=np.int8),
    "v": np.ones((3, 3, 1, 1), np.int8),
}  # fmt: skip
ENTRY = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d")]


def colours(path: Path) -> Path:
    """Scores [N, 3, 1, 1]: the mean of each colour."""
    nodes = [
        *ENTRY, node("GlobalAveragePool", "d", "g"), node("QuantizeLinear", "g s z", "h"),
        node("DequantizeLinear", "h s z", "scores"),
    ]  # fmt: skip
    return toys.write(path, nodes, CONSTANTS, (3, 4, 4), {"scores": (3, 1, 1)})


def test_scores_with_more_axes_are_classes_all_the_same(tmp_path: Path) -> None:
    file = colours(tmp_path / "k11.onnx")
    net = read_net(file)
    (tmp_path / "p.toml").write_text(
        '[[property]]\nname = "a"\nlabel = 1\nbox = { low = 0.1, high = 0.2 }\n'
    )
    (wanted,) = read_properties(tmp_path / "p.toml", net)
    assert wanted.rows.shape == (2, 3)
    assert judge(net, Runtime.open(net), wanted).says == "violated"  # another colour may be larger
    x = np.zeros((2, 4, 4, 3), np.uint8)
    x[..., 1] = [[[90]], [[3]]]
    np.savez(tmp_path / "x.npz", x=x, y=np.ones(2, np.int64))
    more = ["--pictures", str(tmp_path / "x.npz"), "--radius", "2", "--milp", "2"]
    ran = CliRunner().invoke(command, [str(file), *more], standalone_mode=False)
    assert ran.exception is None, ran.output
    assert "radius 2: 1 certified by bounds, 1 falsified by attack" in ran.output


def test_a_falsified_picture_leaves_the_input_that_does_it(tmp_path: Path) -> None:
    """One row a picture, within its smallest radius that has one; the file itself says so."""
    file = colours(tmp_path / "k11.onnx")
    x = np.zeros((3, 4, 4, 3), np.uint8)
    x[..., 1] = [[[90]], [[1]], [[4]]]  # how far green is ahead
    np.savez(tmp_path / "x.npz", x=x, y=np.ones(3, np.int64))
    more = ["--pictures", tmp_path / "x.npz", "--radius", "1", "--radius", "3", "--json",
            tmp_path / "out.json"]  # fmt: skip
    ran = CliRunner().invoke(command, [str(file), *map(str, more)], standalone_mode=False)
    kept = tmp_path / "out.falsified.npz"
    assert f"2 pictures are falsified, each by an input in {kept}" in ran.output
    session = Runtime.open(read_net(file)).session
    with np.load(kept) as rows:
        green = rows["clean"][:, 0, 0, 1].tolist()
        within = dict(zip(green, rows["radius"].tolist(), strict=True))
        assert within == {1: 1, 4: 3}
        assert rows["y"].tolist() == [1, 1]
        seen = rows["x"].transpose(0, 2, 3, 1) * 255
        apart = np.abs(seen - rows["clean"]).max((1, 2, 3))
        assert (apart <= rows["radius"] + 1e-3).all()
        for fed, said in zip(rows["x"], rows["scores"], strict=True):
            (answer,) = session.run(None, {session.get_inputs()[0].name: fed[None]})
            assert answer.ravel()[1] <= answer.ravel()[[0, 2]].max()
            np.testing.assert_allclose(said.ravel(), answer.ravel(), atol=1e-6)
    np.savez(tmp_path / "x.npz", x=x[:1], y=np.ones(1, np.int64))  # 90 ahead: nothing to find
    ran = CliRunner().invoke(command, [str(file), *map(str, more)], standalone_mode=False)
    assert "falsified, each by" not in ran.output
    assert not kept.exists()


def test_only_the_shipped_member_is_held_to_its_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = colours(tmp_path / "certified.onnx")
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 4, 4, 3), np.uint8), y=np.ones(2, np.int64))
    given = [str(file), "--pictures", str(tmp_path / "x.npz"), "--radius", "1"]
    ran = CliRunner().invoke(command, given, standalone_mode=False)
    assert (ran.return_value, "bars that do not hold" in ran.output) == (0, False)
    assert report.is_shipped(models_dir() / "certified.onnx")
    monkeypatch.setattr(report, "models_dir", lambda: tmp_path)
    ran = CliRunner().invoke(command, given, standalone_mode=False)
    assert ran.return_value == 1
    assert "not hold: verify.certified.clean, verify.certified.certified.1\n" in ran.output


def test_float_scores_with_more_axes_are_refused(tmp_path: Path) -> None:
    conv = [*ENTRY, node("DequantizeLinear", "v s o", "m"), node("Conv", "d m", "g")]
    for end in (node("Identity", "g", "scores"), node("Flatten", "g", "scores")):
        file = toys.write(tmp_path / "raw.onnx", [*conv, end], CONSTANTS, (3, 1, 1))
        with pytest.raises(UnsupportedModel, match=r"output scores: float scores .* \[3, 1, 1\]"):
            read_net(file)


def two_outputs(path: Path, second: str) -> Path:
    nodes = [*ENTRY, node("DequantizeLinear", "w s o", "m"), node("MatMul", "d m", "g")]
    for i, name in enumerate(("first", second)):
        nodes += [
            node("QuantizeLinear", "g s z", f"h{i}"), node("DequantizeLinear", f"h{i} s z", name)
        ]  # fmt: skip
    return toys.write(path, nodes, CONSTANTS, (3,), {"first": (3,), second: (3,)})


def card(file: Path, scores: str, other: str) -> Path:
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    outputs = [
        {"name": name, "dtype": "float32", "kind": kind, "size": 3}
        for name, kind in ((other, "embedding"), (scores, "logits"))
    ]
    entry = {"layout": "VECTOR", "dtype": "float32", "size": [3]}
    path = file.with_suffix(".card.json")
    path.write_text(json.dumps({
        "name": "m", "task": "classifier", "runtime": "onnx", "file": file.name, "sha256": sha,
        "labels": ["a", "b", "c"], "input": entry, "outputs": outputs,
    }))  # fmt: skip
    return path


def test_the_card_tells_which_output_holds_the_scores(tmp_path: Path) -> None:
    file = two_outputs(tmp_path / "two.onnx", "second")
    with pytest.raises(UnsupportedModel, match=r"has 2 outputs \(first, second\) and no card"):
        read_net(file)
    card(file, "second", "first")
    assert read_net(file).output_name == "second"
    named = two_outputs(tmp_path / "named.onnx", "scores")
    assert read_net(named).output_name == "scores"
    card(named, "first", "scores")
    assert read_net(named).output_name == "first"


def test_the_card_of_another_file_is_refused(tmp_path: Path) -> None:
    file = two_outputs(tmp_path / "two.onnx", "scores")
    card(file, "scores", "first")
    two_outputs(file, "others")  # written anew, the card is not
    with pytest.raises(EdgeguardError, match=r"two\.onnx: is not the file of its card"):
        read_net(file)
