# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab attack` on a handful of pictures: figures, kept results, refusals."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from edgeguard.card import Card
from edgeguard.cli.lab_attack import attack
from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks import campaign, corpus, plan, report, tables
from edgeguard.lab.attacks.campaign import Outcome, invalid, key_of
from edgeguard.lab.attacks.eot import HELD_OUT, survival
from edgeguard.lab.attacks.inputs import Pictures
from edgeguard.lab.attacks.inputs import scene as scene_of
from edgeguard.lab.attacks.plan import Scene, jobs
from edgeguard.lab.attacks.victim import FloatVictim, Victim, images
from edgeguard.zoo import models_dir
from tests.lab.signs import signs


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x, y = signs(60)
    np.savez(tmp_path / "few.npz", x=x.transpose(0, 2, 3, 1), y=y)
    return tmp_path / "few.npz"


def run(data: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    out = data.with_name("figures.json")
    made = CliRunner().invoke(attack, [
        str(models_dir() / "compact.tflite"), "--data", str(data), "--n", "10",
        "--results", str(data.parent / "kept"), "--json", str(out), "--jobs", "1", *more,
    ], standalone_mode=False)  # fmt: skip
    if made.exception is not None:
        raise made.exception
    rows = json.loads(out.read_text())["figures"]
    found = {row["id"]: {k: v for k, v in row.items() if k != "cpu_s"} for row in rows}
    return int(made.return_value or 0), found, made.output


def test_figures_and_kept_pictures(data: Path) -> None:
    status, found, _ = run(data, "--attack", "noise", "--attack", "jsma")
    assert status == 0
    assert list(found) == [
        "attack.compact.noise.linf.8.success", "attack.compact.jsma.l0.10.success",
        "attack.compact.agreement", "attack.compact.zero_gradients", "attack.compact.rules_broken",
    ]  # fmt: skip
    assert found["attack.compact.jsma.l0.10.success"]["value"] >= 0.9
    assert found["attack.compact.zero_gradients"]["value"] == 0
    assert found["attack.compact.agreement"]["n"] == 1000  # E2, of 60 pictures too
    assert found["attack.compact.rules_broken"]["rules"] == []
    kept_as = data.parent / "kept" / found["attack.compact.jsma.l0.10.success"]["kept"]
    assert json.loads((kept_as / "about.json").read_text())["threat"]["radius"] == 0.1
    kept = sorted((data.parent / "kept").rglob("*.npz"))
    assert len(kept) == 2
    stamps = [f.stat().st_mtime_ns for f in kept]
    assert run(data, "--attack", "noise", "--attack", "jsma")[1] == found
    assert [f.stat().st_mtime_ns for f in kept] == stamps
    with np.load(kept[0]) as stored:
        assert stored["pixels"].dtype == np.uint8
        assert len(stored["pixels"]) == len(stored["y"]) == len(stored["hit"]) == 10


def test_a_damaged_result_is_made_again(data: Path) -> None:
    found = run(data, "--attack", "noise")[1]
    (kept,) = (data.parent / "kept").rglob("*.npz")
    kept.write_bytes(b"half a file")
    assert run(data, "--attack", "noise")[1] == found


def test_what_quick_makes_weaker_is_not_taken_for_the_full_one() -> None:
    pixels, _ = signs(2)
    of = scene("compact.tflite")

    def differ(name: str) -> bool:
        quick = replace(of, quick=True)
        return key_of(quick, jobs()[name], pixels) != key_of(of, jobs()[name], pixels)

    assert differ("substitute.linf.16")
    assert differ("universal.linf.8")
    assert not differ("pgd.linf.8")


def scene(name: str, card: Card | None = None) -> Scene:
    pixels, y = signs(2)
    path = models_dir() / name
    twin = path.with_name(f"{path.stem}.float.onnx")
    victim = Victim(path, pixels, card or Card.beside(path))
    return Scene(victim, pixels, y, FloatVictim(twin) if twin.is_file() else None)


def test_the_key_of_results_holds_the_card_the_twin_and_the_attackers_pictures(
    tmp_path: Path,
) -> None:
    pixels, _ = signs(2)
    of, known = scene("plain.onnx"), jobs()

    def differ(other: Scene, name: str, shown: np.ndarray = pixels) -> bool:
        return key_of(of, known[name], pixels) != key_of(other, known[name], shown)

    assert not differ(scene("plain.onnx"), "pgd.linf.8")
    card = Card.beside(models_dir() / "plain.onnx")
    bgr = scene("plain.onnx", attrs.evolve(card, input=attrs.evolve(card.input, colour="BGR")))
    assert differ(bgr, "pgd.linf.8")
    assert differ(replace(of, own=of.own ^ 1), "substitute.linf.16")
    assert differ(replace(of, own_labels=of.own_labels + 1), "universal.linf.8")
    assert differ(of, "pgd.linf.8", pixels ^ 1)
    twin = tmp_path / "plain.float.onnx"
    shutil.copy(models_dir() / "robust.float.onnx", twin)
    assert differ(replace(of, twin=FloatVictim(twin)), "deepfool_float.l2.min")
    assert not differ(replace(of, twin=FloatVictim(twin)), "deepfool.l2.min")


@pytest.mark.parametrize("package", ["onnxruntime", "ai-edge-litert", "torch", "Pillow"])
def test_results_that_another_package_judged_are_not_continued(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pixels, _), of, job = signs(2), scene("compact.tflite"), jobs()["noise.linf.8"]
    before, version = key_of(of, job, pixels), campaign.version
    monkeypatch.setattr(campaign, "version", lambda p: "other" if p == package else version(p))
    assert key_of(of, job, pixels) != before


def test_results_that_another_campaign_counted_are_not_continued(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (pixels, _), of, job = signs(2), scene("compact.tflite"), jobs()["noise.linf.8"]
    before, source = key_of(of, job, pixels), campaign._source
    monkeypatch.setattr(campaign, "_source", lambda f: source(f) + b"#" * (f.name == "campaign.py"))
    assert key_of(of, job, pixels) != before


def test_what_has_to_survive_views_is_judged_in_held_out_ones(tmp_path: Path) -> None:
    """E11, beside the clean pictures in as many views."""
    x, y = signs(40)
    of, job = scene("compact.tflite"), jobs()["eot.linf.16"]
    right = np.flatnonzero(of.victim.labels(x) == y)[:3]
    found = campaign.run(of, job, x[right], y[right], tmp_path)
    assert found.folder is not None
    kept = corpus.read(found.folder)
    wrong = survival(of.victim, images(kept["pixels"]), torch.from_numpy(y[right]), HELD_OUT, 10, 1)
    np.testing.assert_array_equal(kept["hit"], wrong.numpy() > 0.5)
    assert kept["hit"].sum() > kept["control"].sum()
    names = [f.id for f in found.figures("m")]
    assert names == ["attack.m.eot.linf.16.success", "attack.m.eot.linf.16.control"]
    assert "rotation_deg 15.0" in job.threat.transformations


def test_what_was_made_on_a_twin_counts_where_the_twin_reads_rightly(tmp_path: Path) -> None:
    """Where it does not, an attack on it stops at once: nothing is seen of the file. All columns
    are of the same pictures."""
    x, y = signs(6)
    of, job = scene("plain.onnx"), jobs()["deepfool_float.l2.min"]
    assert of.twin is not None
    keen, labels = y.copy(), of.twin.labels
    keen[:2] = (labels(x)[:2] + 1) % 43  # of the file the true labels do not matter here
    found = campaign.run(of, job, x, keen, tmp_path)
    assert found.folder is not None
    right = labels(x) == keen
    assert 0 < right.sum() <= 4
    kept = corpus.read(found.folder)
    np.testing.assert_array_equal(corpus.counted(kept, 3), np.flatnonzero(right)[:3])
    np.testing.assert_array_equal(found.hit, kept["hit"][right])
    assert {f.n for f in found.figures("m")[:3]} == {right.sum()}


def test_pictures_behind_the_first_handful_are_not_taken_for_others(tmp_path: Path) -> None:
    pixels, y = signs(27)
    of, job = scene("compact.tflite"), jobs()["noise.linf.8"]
    first = campaign.run(of, job, pixels, y, tmp_path)
    assert first.folder is not None
    changed = pixels.copy()
    changed[26] ^= 1
    campaign.run(of, job, changed, y, tmp_path)
    np.testing.assert_array_equal(corpus.read(first.folder)["clean"], changed)


def test_a_shorter_run_leaves_what_a_longer_one_made(tmp_path: Path) -> None:
    pixels, y = signs(27)
    of, job = scene("compact.tflite"), jobs()["noise.linf.8"]
    longer = campaign.run(of, job, pixels, y, tmp_path)
    assert longer.folder is not None
    before = corpus.read(longer.folder)
    shorter = campaign.run(of, job, pixels[:26], y[:26], tmp_path)
    np.testing.assert_array_equal(shorter.hit, longer.hit[:26])
    np.testing.assert_array_equal(corpus.read(longer.folder)["pixels"], before["pixels"])


def test_the_answers_that_a_substitute_learns_from_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are those that --quick grants, not more."""
    assert jobs()["substitute.linf.16"].threat.queries == 6400
    monkeypatch.setattr(plan, "QUICK_QUERIES", 4)
    pixels, y = signs(2)
    of, job = replace(scene("compact.tflite"), quick=True), jobs(quick=True)["substitute.linf.16"]
    assert job.threat.queries == 4
    found = campaign.run(of, job, pixels, y, tmp_path)
    assert found.queries is not None
    np.testing.assert_array_equal(found.queries, [4, 4])


def test_a_file_without_a_card_is_attacked(data: Path) -> None:
    stranger = data.with_name("stranger.tflite")
    shutil.copy(models_dir() / "compact.tflite", stranger)
    made = CliRunner().invoke(attack, [
        str(stranger), "--data", str(data), "--n", "5", "--attack", "noise", "--jobs", "1",
        "--results", str(data.parent / "kept"),
    ], standalone_mode=False)  # fmt: skip
    assert made.exception is None
    assert made.return_value == 0


PLAIN = str(models_dir() / "plain.onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([PLAIN, "--attack", "guard"], "--attack guard: .*is one model"),
        (["--attack", "guard", "--member", "plain"], "--attack guard: .*--member leaves only"),
        ([PLAIN, "--member", "plain"], "--member plain: .*is one model"),
        ([PLAIN, "--attack", "rp2", "--data", "DATA"], "--attack rp2: .*leave --data out"),
        (["STRANGER", "--attack", "rp2"], "--attack rp2: .*has no card"),
        (["STRANGER", "--attack", "cw_l2_float", "--data", "DATA"], "--attack cw_l2_float: no"),
    ],
)
def test_what_could_not_be_done_is_refused(data: Path, arguments: list[str], message: str) -> None:
    stranger = data.with_name("stranger.onnx")
    shutil.copy(PLAIN, stranger)
    named = {"DATA": str(data), "STRANGER": str(stranger)}
    asked = [named.get(a, a) for a in arguments]
    refused([*asked, "--n", "3", "--jobs", "1", "--results", str(data.parent / "kept")], message)


def refused(arguments: list[str], message: str) -> None:
    made = CliRunner().invoke(attack, arguments, standalone_mode=False)
    assert isinstance(made.exception, EdgeguardError), made.exception
    assert re.search(message, str(made.exception)), made.exception


X, Y = np.zeros((4, 32, 32, 3), np.uint8), np.zeros(4, np.int64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", r"x\.npz: cannot be read as npz: it is no .npz; write it with numpy.savez$"),
        ({"x": X, "y": Y.astype(object)}, "it holds Python objects; write it with numpy.savez"),
        (
            {"x": X.transpose(0, 3, 1, 2), "y": Y},
            r"want x uint8 \[N, H, W, 3\].*got x uint8 \[4, 3, 32, 32\]",
        ),
        ({"x": X}, "has no x .* and y"),
        ({"x": X.astype(np.float32), "y": Y}, "want x uint8"),
        ({"x": X[0], "y": Y}, "want x uint8"),
        ({"x": X, "y": Y[:3]}, "want x uint8"),
        ({"x": X, "y": Y + 0.5}, "want x uint8"),
        ({"x": X[:1], "y": Y[:1]}, "has 1 pictures; want at least two"),
        ({"x": X, "y": Y - 1}, "y has the class -1; want classes from 0 on"),
        ({"x": X, "y": Y + 43}, "has 43 classes; the pictures have the class 43"),
        ({"x": X[:, :30], "y": Y}, r"takes pictures of shape \[3, 32, 32\].* not \[3, 30, 32\]"),
    ],
)
def test_pictures_that_no_attack_could_use_are_refused(
    tmp_path: Path, content: Any, message: str
) -> None:
    file = tmp_path / "x.npz"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.savez(file, **content)
    refused([PLAIN, "--data", str(file), "--attack", "noise", "--jobs", "1",
             "--results", str(tmp_path / "kept")], message)  # fmt: skip


def test_a_float_input_without_a_card_names_the_file(data: Path) -> None:
    stranger = data.with_name("stranger.onnx")
    model = onnx.load(PLAIN)  # whose first node dequantizes its input: put a quantizer before it
    entry, was = model.graph.input[0], model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["quantized" if name == was else name for name in node.input]
    grid = next(n for n in model.graph.node if "quantized" in n.input).input[1:3]
    model.graph.node.insert(0, onnx.helper.make_node("QuantizeLinear", [was, *grid], ["quantized"]))
    entry.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    onnx.save(model, stranger)
    refused([str(stranger), "--data", str(data), "--attack", "noise", "--jobs", "1",
             "--results", str(data.parent / "kept")],
            r"stranger\.onnx: input '.*' is float32: write a card")  # fmt: skip


@pytest.mark.parametrize("wrong", ["size", "classes"])
def test_pictures_that_nobody_named_are_called_by_their_name(wrong: str) -> None:
    x, y = signs(2)
    shown = x[:, :, :30] if wrong == "size" else x
    seen = Pictures(shown, y + 43 * (wrong == "classes"), shown, y, "; these are GTSRB's")
    with pytest.raises(EdgeguardError, match=r"plain\.onnx: .*; these are GTSRB's"):
        scene_of(Path(PLAIN), None, seen, True)


def test_results_that_cannot_be_written_are_refused_before_anything_is_opened(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "pictures", None)
    for results in ("/proc/x", str(data / "below")):
        refused([PLAIN, "--data", str(data), "--attack", "noise", "--results", results],
                f"--results {results}: no folder can be made")  # fmt: skip


def test_an_interrupt_says_what_is_kept(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(request: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "run", stopped)
    made = CliRunner().invoke(attack, [PLAIN, "--results", "kept"])
    assert "kept keeps what is finished; the same command goes on from there" in made.output
    assert made.output.startswith("opening the models, and comparing")
    assert made.exit_code == 1


def test_a_size_of_no_change_is_left_blank(capsys: pytest.CaptureFixture[str]) -> None:
    tables.attacks("m", [Outcome(jobs()["pgd.linf.8"], np.zeros(3, bool), np.zeros(3), None)])
    assert "nan" not in capsys.readouterr().out


def test_a_float_twin_that_cannot_be_read_is_named(data: Path) -> None:
    model = data.with_name("mine.onnx")
    shutil.copy(PLAIN, model)
    for content in (b"no model", (models_dir() / "plain.onnx").read_bytes()):
        data.with_name("mine.float.onnx").write_bytes(content)
        refused([str(model), "--data", str(data), "--jobs", "1", "--attack", "noise",
                 "--results", str(data.parent / "kept")], r"mine\.float\.onnx: ")  # fmt: skip


def carded(folder: Path, edit: Any) -> Path:
    """A shipped file with a card that says something else."""
    for name in ("plain.onnx", "labels.json"):
        shutil.copy(models_dir() / name, folder)
    card = json.loads((models_dir() / "plain.card.json").read_text())
    edit(card)
    (folder / "plain.card.json").write_text(json.dumps(card))
    return folder / "plain.onnx"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(sha256="0" * 64), "is not the file of its card 'plain'.*restore the"),
        (
            lambda c: c["outputs"][0].update(name="others"),
            "outputs.0..name: the card says 'others'",
        ),
    ],
    ids=["file", "output"],
)
def test_a_file_that_is_not_its_cards_is_refused(data: Path, edit: Any, message: str) -> None:
    model = carded(data.parent, edit)
    refused([str(model), "--data", str(data), "--jobs", "1", "--attack", "noise",
             "--results", str(data.parent / "kept")], message)  # fmt: skip


def test_an_output_that_a_file_has_not_is_named() -> None:
    with pytest.raises(EdgeguardError, match=r"plain\.onnx: has no output 'others' but '.*init"):
        scene("plain.onnx").victim.surrogate.index("others")


def test_a_member_called_as_the_whole_is_refused(data: Path, tmp_path: Path) -> None:
    """Its pictures would lie in the same folder."""
    shutil.copytree(models_dir(), tmp_path / "models")
    policy = tmp_path / "models" / "guard.toml"
    policy.write_text(policy.read_text().replace("[member.plain]", "[member.guard]"))
    asked = [str(policy), "--data", str(data), "--attack", "fgsm", "--results", str(tmp_path / "r")]
    made = CliRunner().invoke(attack, asked, standalone_mode=False)
    assert isinstance(made.exception, EdgeguardError)
    assert "member.guard: the whole is called that here; rename it" in str(made.exception)


def test_an_unknown_attack_is_named(data: Path) -> None:
    with pytest.raises(Exception, match=r"--attack pdg: known are .*pgd"):
        run(data, "--attack", "pdg")


def test_a_weak_iterative_attack_makes_the_evaluation_invalid() -> None:
    """E4, E18: what a masked gradient looks like."""
    known = jobs()

    def outcome(name: str, hits: int) -> Outcome:
        hit = np.arange(100) < hits
        return Outcome(known[name], hit, np.zeros(100), None)

    fine = [outcome("noise.linf.8", 1), outcome("fgsm.linf.8", 40), outcome("pgd.linf.8", 90)]
    assert invalid(fine) == []
    (wider,) = invalid([outcome("pgd.linf.4", 60), outcome("pgd.linf.8", 50)])
    assert "pgd.linf.4 (60 of 100) is stronger than pgd.linf.8 (50)" in wider
    one = [Outcome(known[name], np.arange(10) < hits, np.zeros(10), None)
           for name, hits in (("pgd.linf.2", 3), ("pgd.linf.4", 2))]  # fmt: skip
    assert invalid(one) == []  # by one image
    masked = [outcome("fgsm.linf.8", 40), outcome("pgd.linf.8", 20), outcome("square.linf.8", 70),
              outcome("apgd_dlr.linf.8", 30)]  # fmt: skip
    few = [Outcome(known["pgd.linf.8"], np.arange(25) < 20, np.zeros(25), None)]
    early = np.arange(100) < 20  # of the first 25 no more than PGD fooled of them, but ...
    assert invalid([*few, Outcome(known["fgsm.linf.8"], early | (np.arange(100) >= 25),
                                  np.zeros(100), None)]) == []  # fmt: skip
    said = invalid(masked)
    assert len(said) == 3
    assert all(rule.startswith("E4: ") for rule in said)
