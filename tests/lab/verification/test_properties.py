# SPDX-License-Identifier: Apache-2.0
"""Properties of a TOML file, and the command line, on toy nets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")

import onnx
import torch
from click.testing import CliRunner

from edgeguard.cli import lab_verify
from edgeguard.cli.lab_verify import command
from edgeguard.errors import ConfigError, EdgeguardError
from edgeguard.lab.verification import second
from edgeguard.lab.verification.net import Net
from edgeguard.lab.verification.pixels import Pixels
from edgeguard.lab.verification.properties import judge, read_properties
from edgeguard.lab.verification.read import read_net
from edgeguard.lab.verification.regions import clusters, hull
from edgeguard.lab.verification.report import Labelled, ablate, read_pictures, second_opinions
from edgeguard.lab.verification.runtime import Runtime
from edgeguard.lab.verification.verify import Effort, Verdict
from edgeguard.zoo import models_dir
from tests.lab.signs import signs
from tests.lab.verification import toys

Toy = tuple[Path, Net, Runtime]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    folder = tmp_path_factory.mktemp("toy")
    net, runtime = toys.opened("dense", 1, folder)
    return folder / "dense1.onnx", net, runtime


def found(toy: Toy, tmp_path: Path, text: str) -> tuple[str, list[list[float]]]:
    _, net, runtime = toy
    (tmp_path / "p.toml").write_text(text)
    (wanted,) = read_properties(tmp_path / "p.toml", net)
    result = judge(net, runtime, wanted)
    return result.says, result.ranges


def scores_of(toy: Toy, low: float, high: float) -> torch.Tensor:
    """Real scores of all inputs whose pixels lie between low and high."""
    _, net, runtime = toy
    ends = [net.input.steps(torch.full((1, *toys.SHAPE), v)) for v in (low, high)]
    grid = net.grid(net.output)
    return (runtime.run(toys.every(*ends)) - grid.zero) * grid.scale


def test_a_range_holds_every_score_of_its_box(toy: Toy, tmp_path: Path) -> None:
    says, ranges = found(toy, tmp_path, '[[property]]\nname = "r"\nrange = true\n'
                         "box = { low = 0.5, high = 0.51 }\n")  # fmt: skip
    scores = scores_of(toy, 0.5, 0.51)
    assert says == "range"
    low, high = torch.tensor(ranges, dtype=torch.float64).T
    assert bool((low <= scores.amin(0) + 1e-9).all())
    assert bool((scores.amax(0) <= high + 1e-9).all())
    assert float((high - low).max()) < 5 * float((scores.amax(0) - scores.amin(0)).max()) + 1


def test_a_range_of_scores_that_are_not_quantized_holds_them(tmp_path: Path) -> None:
    weight = np.array([[3, -2, 1, 4], [-5, 1, 0, 2], [1, 1, -1, 1]], np.int8)
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        onnx.helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"]),
        onnx.helper.make_node("Gemm", ["d", "v"], ["scores"], transB=1),
    ]
    constants = {"s": np.float32(0.1), "z": np.int8(0), "w": weight}
    net = read_net(toys.write(tmp_path / "raw.onnx", nodes, constants))
    text = '[[property]]\nname = "r"\nrange = true\nbox = { low = 0.2, high = 0.4 }\n'
    _, ranges = found((tmp_path, net, Runtime.open(net)), tmp_path, text)
    low, high = torch.tensor(ranges, dtype=torch.float64).T
    scores = Runtime.open(net).run(toys.every(*torch.tensor([[[2.0] * 4], [[4.0] * 4]])))
    assert float(scores.abs().max()) < 1.0 < 100 * float(scores.abs().max())  # rounding would tell
    assert bool((low <= scores.amin(0)).all() and (scores.amax(0) <= high).all())
    assert float((high - low).max()) < 1.1 * float((scores.amax(0) - scores.amin(0)).max())


@pytest.mark.parametrize("side", ["at_least", "at_most"])
def test_a_linear_property_is_judged_as_brute_force_judges_it(
    toy: Toy, tmp_path: Path, side: str
) -> None:
    lead = scores_of(toy, 0.5, 0.51) @ torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    worst = float(lead.min() if side == "at_least" else lead.max())
    out = -1.0 if side == "at_least" else 1.0
    text = ('[[property]]\nname = "p"\nscore = { 0 = 1.0, 1 = -1.0 }\n'
            "box = { low = 0.5, high = 0.51 }\n" + side + " = ")  # fmt: skip
    spread = float(lead.max() - lead.min()) + 1.0
    assert found(toy, tmp_path, text + str(worst + 3 * out * spread))[0] == "holds"
    assert found(toy, tmp_path, text + str(worst + 0.01 * out))[0] in ("holds", "open")
    assert found(toy, tmp_path, text + str(worst - out * spread))[0] == "violated"


def test_a_violated_property_leaves_its_input_and_every_verdict_is_named(
    toy: Toy, tmp_path: Path
) -> None:
    file, _, runtime = toy
    box = "box = { low = 0.5, high = 0.51 }\n"
    score = "score = { 0 = 1.0, 1 = -1.0 }\n"
    lead = scores_of(toy, 0.5, 0.51) @ torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    (tmp_path / "p.toml").write_text(
        f'[[property]]\nname = "r"\nrange = true\n{box}'
        f'[[property]]\nname = "h"\n{score}{box}at_most = 1e6\n'
        f'[[property]]\nname = "v"\n{score}{box}at_least = {float(lead.max()) + 0.5}\n'
    )
    asked = [str(file), "--properties", str(tmp_path / "p.toml")]
    out, kept = tmp_path / "out.json", tmp_path / "out.violated.npz"
    ran = CliRunner().invoke(command, [*asked, "--json", str(out)], standalone_mode=False)
    assert ran.return_value == 1, ran.output
    assert f"by an input of box 0: row 0 of {kept}" in ran.output
    assert "bars that do not hold: verify.property.v\n" in ran.output
    rows = {row["id"]: row for row in json.loads(out.read_text())["figures"]}
    told = {name: rows[f"verify.property.{name}"] for name in "rhv"}
    assert [told[name]["says"] for name in "rhv"] == ["range", "holds", "violated"]
    assert told["r"]["value"] == max(high - low for low, high in told["r"]["ranges"])
    assert told["v"]["input"] == {"file": kept.name, "row": 0}
    with np.load(kept) as stored:
        assert stored["names"].tolist() == ["v"]
        session = runtime.session
        fed = {session.get_inputs()[0].name: stored["x"]}
        assert session.run(None, fed)[0].shape == (1, 3)
        assert stored["scores"][0] @ [1.0, -1.0, 0.0] <= float(lead.max())
    for beside_nothing in ([], ["--json", "/dev/null"]):
        ran = CliRunner().invoke(command, [*asked, *beside_nothing], standalone_mode=False)
        assert "keep it with --json FILE" in ran.output
    (tmp_path / "p.toml").write_text(f'[[property]]\nname = "h"\n{score}{box}at_most = 1e6\n')
    CliRunner().invoke(command, [*asked, "--json", str(out)], standalone_mode=False)
    assert not kept.exists()


BOX = '[[property]]\nname = "a"\nbox = { low = 0.0, high = 1.0 }\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"p\.toml: has no \[\[property\]\]"),
        ("[[property]]\n", r"property 1: name: want a text"),
        ('[[property]]\nname = "a"\nlable = 1\n', "unknown key lable"),
        ('[[property]]\nname = "a"\nrange = true\n', "want one of box and pictures"),
        ('[[property]]\nname = "a"\nrange = true\nbox = { low = 1.0, high = 0.0 }\n',
         "low is above high"),
        ('[[property]]\nname = "a"\nrange = true\nbox = { low = [0.0, 1.0], high = 1.0 }\n',
         r"box\.low: want 1 or 4 finite numbers, has 2"),
        ('[[property]]\nname = "a"\nlabel = 3\nbox = { low = 0.0, high = 1.0 }\n',
         "want a class from 0 to 2"),
        ('[[property]]\nname = "a"\nscore = { 0 = 1.0 }\nbox = { low = 0.0, high = 1.0 }\n',
         "at_least or at_most"),
        ('[[property]]\nname = "a"\nscore = { 9 = 1.0 }\nat_most = 0\n'
         "box = { low = 0.0, high = 1.0 }\n", r"score\.9"),
        ('[[property]]\nname = "a"\nlabel = 1\nat_least = 2.0\nbox = { low = 0.0, high = 1.0 }\n',
         "at_least: belongs to score, not to label"),
        ('[[property]]\nname = "a"\nrange = true\nat_most = 2.0\nbox = { low = 0.0, high = 1.0 }\n',
         "at_most: belongs to score, not to range"),
        ('[[property]]\nname = "a"\nrange = false\nbox = { low = 0.0, high = 1.0 }\n',
         "range: want true"),
        ('[[property]]\nname = "a"\nlabel = 1\nradius = 2\nbox = { low = 0.0, high = 1.0 }\n',
         "radius: belongs to pictures"),
        ("property = [1]", "property 1: want a table"),
        (BOX + "label = true\n", "label: want a class from 0 to 2"),
        (BOX + "score = { 0 = 1.0 }\nat_least = true\n", "finite number at_least or at_most"),
        (BOX + "score = { 0 = 1.0 }\nat_least = -inf\n", "finite number at_least or at_most"),
        (BOX + "score = { 0 = 1.0 }\nat_most = nan\n", "finite number at_least or at_most"),
        (BOX + "score = { 0 = 1.0 }\nat_most = 1" + "0" * 400 + "\n", "finite number"),
        (BOX + "score = { 0 = true }\nat_most = 0\n", r"score\.0: want a class below 3 and a"),
        (BOX + "score = { 0 = 1" + "0" * 400 + " }\nat_most = 0\n", r"score\.0"),
        (BOX + 'score = { 0 = 1.0, "00" = 1.0 }\nat_most = 0\n', r"score\.00"),
        ('[[property]]\nname = "a"\nlabel = 1\nbox = { low = true, high = 1.0 }\n',
         r"box\.low: want 1 or 4 finite numbers"),
        ('[[property]]\nname = "a"\nlabel = 1\nbox = { low = 1' + "0" * 400 + ", high = 1.0 }\n",
         r"box\.low: want 1 or 4 finite numbers"),
        ('[[property]]\nname = "a"\nlabel = 1\npictures = 5\n', "pictures: want the name"),
        ('[[property]]\nname = "a"\nlabel = 1\npictures = "none.npz"\n', r"none\.npz has no x"),
        ('[[property]]\nname = "a"\nlabel = 1\npictures = "one.npz"\n', r"one\.npz has no x"),
        ('[[property]]\nname = "a"\nlabel = 1\npictures = "chw.npz"\n',
         r"property 1 \(a\): pictures: .*chw\.npz: x is \[1, 1, 2, 2\]; want \[N, 2, 2, 1\]"),
        ('[[property]]\nname = "a"\nlabel = 1\npictures = "x.npz"\nradius = true\n',
         "radius: want whole grey levels"),
        (BOX + "label = 1\n" + BOX + "label = 2\n", "property 2: name: another one is called a"),
        (BOX + "label = 1\n[[propertys]]\n", "unknown key propertys; properties are"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_key(toy: Toy, tmp_path: Path, text: str, message: str) -> None:
    for name, shape in (("none", (0, 2, 2, 1)), ("x", (1, 2, 2, 1)), ("one", ()),
                        ("chw", (1, 1, 2, 2))):  # fmt: skip
        np.savez(tmp_path / f"{name}.npz", x=np.zeros(shape, np.uint8))
    with pytest.raises(ConfigError, match=message):
        found(toy, tmp_path, text)


def test_limits_keep_their_digits(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        BOX + "score = { 0 = 1.0 }\nat_least = 0.1\nat_most = 16777217\n"
    )
    (wanted,) = read_properties(tmp_path / "p.toml", toy[1])
    assert wanted.least.tolist() == [0.1, -16777217.0]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "b"], r"y is <U1; want classes as whole numbers"),
        ([0.5, 1.0], r"y is float64; want classes"),
        ([np.nan, 1.0], r"y is float64; want classes"),
        ([True, False], r"y is bool; want classes"),
        ([-1, 2], r"y has the class -1; the model has 3"),
        ([2, 7], r"y has the class 7; the model has 3"),
        (np.array([2**64 - 1, 0], np.uint64), r"y has the class 18446744073709551615"),
    ],
)
def test_labels_that_are_no_classes_are_named(
    toy: Toy, y: object, message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 2, 2, 1), np.uint8), y=y)
    with pytest.raises(EdgeguardError, match=message):
        read_pictures(tmp_path / "x.npz", 2, Pixels.of(toy[1]))


def pictures(toy: Toy, folder: Path) -> Path:
    """Random pictures with the labels that the file gives them."""
    _, _, runtime = toy
    x = np.random.default_rng(1).integers(0, 256, (12, 2, 2, 1), dtype=np.uint8)
    q = torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float64)) - 128
    np.savez(folder / "x.npz", x=x, y=runtime.run(q).argmax(1).numpy())
    return folder / "x.npz"


def test_the_command_reports_certified_shares(toy: Toy, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    ran = CliRunner().invoke(
        command, [str(toy[0]), "--pictures", str(pictures(toy, tmp_path)), "--radius", "0",
                  "--radius", "2", "--milp", "5", "--regions", "3", "--json", str(out)],
        standalone_mode=False,
    )  # fmt: skip
    assert ran.exception is None, ran.output
    figures = {f["id"]: f for f in json.loads(out.read_text())["figures"]}
    assert figures["verify.dense1.certified.0"]["value"] == 1.0  # of a point there is one input
    assert figures["verify.dense1.broken"]["value"] == 0
    shares = [figures[f"verify.dense1.{k}.2"]["value"] for k in ("certified", "falsified",
                                                                 "unknown")]  # fmt: skip
    assert sum(shares) == pytest.approx(1.0)
    assert "certified by bounds" in ran.output
    assert ran.output.startswith(f"reading {toy[0]}, and comparing")


def test_an_ablation_counts_broken_certificates(toy: Toy, tmp_path: Path) -> None:
    """Here each case breaks all it certifies: its runtime answers otherwise than its net."""
    _, net, runtime = toy
    x = np.load(pictures(toy, tmp_path))["x"]

    class Liar(Runtime):
        def run(self, q: torch.Tensor) -> torch.Tensor:
            scores = super().run(q)
            return scores if len(q) == len(x) else scores.flip(1)  # pictures, not attacks

    lying = Liar(net, runtime.session)
    y = runtime.run(Pixels.of(net).integers(x)).argmax(1)
    figures = ablate(net, lying, Labelled(x, y), [0], Effort())
    broken = [f for f in figures if f.id.endswith(".broken")]
    assert [f.id for f in broken] == [f"verify.ablate.{c}.broken" for c in ("all", "unshared",
                                                                           "regions")]  # fmt: skip
    assert all(f.value > 0 and f.holds is False for f in broken)


def test_the_command_names_what_is_wrong(toy: Toy, tmp_path: Path) -> None:
    np.savez(tmp_path / "big.npz", x=np.zeros((1, 1, 2, 2), np.uint8), y=np.full(1, 99))
    shutil.copy(models_dir() / "compact.tflite", tmp_path)
    for arguments, message in (
        (["nowhere.onnx"], "nowhere.onnx: no such file"),
        (
            [str(toy[0]), "--pictures", str(tmp_path / "big.npz")],
            r"big.npz: x is [1, 1, 2, 2]; want [N, 2, 2, 1], which",
        ),
        ([str(tmp_path / "compact.tflite")], "compact.tflite: is TFLite; only ONNX is proved"),
        ([str(toy[0]), "--json", str(tmp_path / "no" / "out.json")], "there is no folder"),
    ):
        ran = CliRunner().invoke(command, arguments, standalone_mode=False)
        assert isinstance(ran.exception, EdgeguardError)
        assert message in str(ran.exception)


def test_certificates_get_a_second_opinion(toy: Toy, tmp_path: Path) -> None:
    pytest.importorskip("maraboupy", reason="needs the extra solver (x86-64)")
    out = tmp_path / "out.json"
    ran = CliRunner().invoke(
        command, [str(toy[0]), "--pictures", str(pictures(toy, tmp_path)), "--radius", "0",
                  "--second-opinion", "5", "--json", str(out)],
        standalone_mode=False,
    )  # fmt: skip
    assert ran.exception is None, ran.output
    figures = {f["id"]: f for f in json.loads(out.read_text())["figures"]}
    of_all = figures["verify.dense1.certified.0"]["n"]
    assert figures["verify.dense1.second.confirmed.0"]["n"] == of_all
    assert figures["verify.dense1.second.refutable.0"]["value"] == 1  # four pixels
    assert figures["verify.dense1.second.contradicted.0"]["value"] == 0


def test_nothing_is_called_contradicted_where_the_input_was_too_large_to_ask() -> None:
    """`certified.onnx` has 3,072 free pixels: a bar on `contradicted` would hold whatever is so."""
    pytest.importorskip("maraboupy", reason="needs the extra solver (x86-64)")
    net = read_net(models_dir() / "certified.onnx")
    runtime = Runtime.open(net)
    x, _ = signs(1)
    y = runtime.run(Pixels.of(net).integers(x.transpose(0, 2, 3, 1))).argmax(1)
    verdicts = [{1: Verdict("certified", "bounds", 0.0)}]
    found = second_opinions(net, runtime, Labelled(x.transpose(0, 2, 3, 1), y), verdicts, 512, 5)
    assert [f.id.removeprefix("verify.certified.second.") for f in found] == [
        "confirmed.1", "refutable.1",
    ]  # fmt: skip
    assert found[1].value == 0


def test_the_card_of_a_file_with_two_suffixes_is_found(toy: Toy, tmp_path: Path) -> None:
    shutil.copy(models_dir() / "robust.onnx", tmp_path / "net.int8.onnx")
    shutil.copy(models_dir() / "robust.card.json", tmp_path / "net.card.json")
    card = json.loads((tmp_path / "net.card.json").read_text())
    card["input"]["mean"], card["labels"] = [0.2, 0.2, 0.2], [str(i) for i in range(43)]
    (tmp_path / "net.card.json").write_text(json.dumps(card))
    table = Pixels.of(read_net(tmp_path / "net.int8.onnx")).table
    assert table[:, [0, 51, 255]].tolist() == [[-128, -128, 76]] * 3  # 51 / 255 is the mean


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--second-opinion", "1", "--ablate"], "--second-opinion: .*leave --ablate out"),
        (["--second-opinion", "1", "--properties", "p.toml"], "--second-opinion: .*--properties"),
        (["--ablate", "--properties", "p.toml"], "--ablate: .*--properties"),
        (["--pictures", "x.npz", "--properties", "p.toml"], "--pictures: .*--properties"),
        (["--n", "5", "--properties", "p.toml"], "--n: .*--properties"),
        (["--milp", "5", "--properties", "p.toml"], "--milp: .*--properties"),
        (["--data-dir", "d", "--pictures", "x.npz"], "--data-dir: .*leave it or --pictures out"),
        (["--order", "file"], "--order: .*without --milp"),
    ],
)
def test_options_that_would_change_nothing_are_refused(
    toy: Toy, more: list[str], message: str
) -> None:
    ran = CliRunner().invoke(command, [str(toy[0]), *more], standalone_mode=False)
    with pytest.raises(EdgeguardError, match=message):
        raise ran.exception or AssertionError("was not refused")


def test_a_second_opinion_on_nothing_says_so(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second, "solver", lambda: None)
    with np.load(pictures(toy, tmp_path)) as stored:
        wrong = {"x": stored["x"], "y": (stored["y"] + 1) % 3}
    np.savez(tmp_path / "x.npz", **wrong)
    asked = [str(toy[0]), "--pictures", str(tmp_path / "x.npz"), "--second-opinion", "5"]
    ran = CliRunner().invoke(command, asked, standalone_mode=False)
    assert "second opinion: nothing is certified, so nothing was asked" in ran.output


def test_pictures_that_nobody_named_are_called_by_their_name(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 2, 2, 1), np.uint8), y=np.full(1, 42))
    monkeypatch.setattr(lab_verify, "_test_half", lambda data_dir: tmp_path / "x.npz")
    ran = CliRunner().invoke(command, [str(toy[0])], standalone_mode=False)
    said = "y has the class 42; the model has 3, from 0 on; these are GTSRB's, because --pictures"
    assert said in str(ran.exception)


def test_clusters_are_of_one_class_and_their_hull_holds_them() -> None:
    x = np.full((4, 2, 2, 1), 100, np.uint8)
    x[1] += 2
    x[3] += 9
    y = np.array([0, 0, 1, 0])
    (members,) = clusters(x, y, 3)
    assert members.tolist() == [0, 1]
    low, high = hull(x[members], 1)
    assert (low.min(), high.max()) == (99, 103)
