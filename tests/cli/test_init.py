# SPDX-License-Identifier: Apache-2.0
"""`edgeguard init` on the shipped models and on models that it must refuse."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from edgeguard.card import Card
from edgeguard.cli.init import DEADLINES_MS, _publish, _write
from edgeguard.cli.main import main
from edgeguard.cli.new_card import Wishes, new_card
from edgeguard.cli.pictures import read, tensor
from edgeguard.config import load, load_cards, policy_dict
from edgeguard.errors import ConfigError
from edgeguard.inference.golden import load_golden
from edgeguard.inference.quantization import FileSpec, TensorSpec
from edgeguard.zoo import models_dir

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("EDGEGUARD_DATA", ROOT.parent / "shared" / "data")) / "models"
DIGEST = "ab" * 32
FLOAT = TensorSpec("x", "float32", (1, 3, 8, 8))
SCORES = TensorSpec("y", "float32", (1, 3))
LABELS = ("a", "b", "c")


def named(name: str, size: int = 3, softmax: bool = False) -> TensorSpec:
    return TensorSpec(name, "float32", (1, size), softmax=softmax)


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    return int(done.value.code or 0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    image = pytest.importorskip("PIL.Image", reason="pictures are made with Pillow")
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(1)
    for i in range(10):
        small = random.integers(0, 256, (6, 6, 3), np.uint8)
        picture = image.fromarray(small).resize((48, 40))
        picture.save(folder / f"{i}.png")
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    file = tmp_path / "labels.txt"
    file.write_text("".join(f"class {i}\n" for i in range(43)))
    return file


@pytest.mark.parametrize(
    ("runtime", "name"), [("onnxruntime", "plain.onnx"), ("ai_edge_litert", "compact.tflite")]
)
def test_init_writes_a_folder_that_check_accepts(
    pictures: Path, labels: Path, runtime: str, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(runtime)
    out = pictures.parent / "out"
    model = models_dir() / name
    arguments = ("init", model, "--images", pictures, "--labels", labels, "--out", out)
    assert run(*arguments) == 0, capfd.readouterr().err

    stem = Path(name).stem
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [name, f"{stem}.card.json", f"{stem}.golden.npz", "guard.toml"]
    )
    shipped, made = Card.beside(model), Card.beside(out / name)
    assert (made.input.layout, made.input.dtype, made.input.size) == (
        shipped.input.layout, shipped.input.dtype, shipped.input.size,
    )  # fmt: skip
    assert made.scores.kind == "logits"
    assert len(load_golden(made)[0]) == 8
    cfg = load(out / "guard.toml", files=True)
    assert len(policy_dict(cfg, load_cards(cfg))["labels"]) == 43
    assert run("check", out / "guard.toml") == 0
    assert "every class is hold" in capfd.readouterr().out

    assert run(*arguments) == 2
    assert "--force overwrites it" in capfd.readouterr().err
    assert run(*arguments, "--force") == 0


def test_what_was_there_before_outlasts_a_refusal_and_a_failure(
    pictures: Path, labels: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    out = pictures.parent / "out"
    out.mkdir()
    arguments = ("init", models_dir() / "plain.onnx", "--images", pictures, "--labels", labels)
    (out / "plain.onnx").write_bytes(b"another model of that name")
    assert run(*arguments, "--out", out) == 2
    assert f"{out / 'plain.onnx'}: exists; --force overwrites it" in capfd.readouterr().err
    assert [p.read_bytes() for p in out.iterdir()] == [b"another model of that name"]

    assert run(*arguments, "--out", out, "--force") == 0
    (out / "guard.toml").unlink()
    (out / "guard.toml").mkdir()
    (out / "plain.card.json").write_text("of before")
    before = {p: p.read_bytes() for p in out.iterdir() if p.is_file()}
    assert run(*arguments, "--out", out, "--force") == 2
    assert "cannot be written: Is a directory" in capfd.readouterr().err
    assert {p: p.read_bytes() for p in out.iterdir() if p.is_file()} == before


def test_what_is_refused_leaves_nothing_behind(
    tmp_path: Path, pictures: Path, labels: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    model, out, empty = models_dir() / "plain.onnx", tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    short = tmp_path / "short.txt"
    short.write_text("one\ntwo\n")
    blank = tmp_path / "blank.json"
    blank.write_text('["one", ""]')
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model.read_bytes()[:1000])
    text = tmp_path / "model.txt"
    text.write_text("x")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"no picture")
    for given, images, names, phrase in (
        (model, pictures, short, "2 labels, but its outputs are"),
        (model, empty, labels, "holds no pictures"),
        (model, tmp_path / "nowhere", labels, "no such file"),
        (model, tmp_path / "bad", labels, "is no readable picture"),
        (model, pictures, tmp_path / "nowhere", "cannot be read"),
        (model, pictures, blank, "every score needs a name"),
        (tmp_path / "nowhere.onnx", pictures, labels, "no such file"),
        (broken, pictures, labels, "is not a readable ONNX model"),
        (text, pictures, labels, "neither .onnx nor .tflite"),
    ):
        assert run("init", given, "--images", images, "--labels", names, "--out", out) == 2
        err = capfd.readouterr().err
        assert phrase in err
        assert "Traceback" not in err
        assert not out.exists(), phrase
    assert run("init", model, "--images", pictures, "--labels", labels, "--size", "0x9") == 2


def test_labels_of_several_classes_are_named_and_the_template_stays_valid(
    tmp_path: Path, pictures: Path, labels: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """ImageNet's list has "crane" twice."""
    pytest.importorskip("onnxruntime")
    names = labels.read_text().splitlines()
    names[2] = names[1] = "crane"
    twice = tmp_path / "twice.txt"
    twice.write_text("\n".join(names) + "\n")
    model, out = models_dir() / "plain.onnx", tmp_path / "out"
    assert run("init", model, "--images", pictures, "--labels", twice, "--out", out) == 0
    assert capfd.readouterr().out.count('note: "crane" is the label of several classes') == 1
    text = (out / "guard.toml").read_text()
    assert text.count('# "crane" = 1.0  # of several classes\n') == 1
    (out / "guard.toml").write_text(text.replace('# "crane" = 1.0', '"crane" = 1.0'))
    assert run("check", out / "guard.toml") == 2
    assert 'has the label "crane" twice' in capfd.readouterr().err


def test_a_second_model_in_the_folder_is_told_how_to_join_the_first(
    tmp_path: Path, pictures: Path, labels: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    for name in ("plain", "second"):
        (tmp_path / f"{name}.onnx").write_bytes((models_dir() / "plain.onnx").read_bytes())
    arguments = ("--images", pictures, "--labels", labels)
    assert run("init", tmp_path / "plain.onnx", *arguments) == 0
    assert run("init", tmp_path / "second.onnx", *arguments) == 2
    assert 'to add second.onnx to it: "A second member" in docs/card.md' in capfd.readouterr().err
    page = (ROOT / "docs" / "card.md").read_text(encoding="utf-8")
    steps = page[page.index("## A second member") :].split("```")[1]
    table = next(line for line in steps.splitlines() if line.startswith("sed"))
    assert run("init", tmp_path / "second.onnx", *arguments, "--out", tmp_path / "second") == 0
    for file in (tmp_path / "second").glob("second.*"):
        file.rename(tmp_path / file.name)
    subprocess.run(table, shell=True, check=True, cwd=tmp_path)
    assert list(load(tmp_path / "guard.toml", files=True).members) == ["plain", "second"]


def test_ctrl_c_of_a_terminal_ends_it_and_its_child_without_a_word_of_theirs(
    tmp_path: Path, pictures: Path, labels: Path
) -> None:
    pytest.importorskip("onnxruntime")
    model, out = models_dir() / "plain.onnx", tmp_path / "out"
    arguments = ("--images", pictures, "--labels", labels, "--out", out)
    with subprocess.Popen(
        [sys.executable, "-m", "edgeguard", "init", model, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as init:  # fmt: skip
        children = Path(f"/proc/{init.pid}/task/{init.pid}/children")
        workers: list[int] = []
        while not workers and init.poll() is None:  # the child of the first look begins to import
            workers = [pid for pid in map(int, children.read_text().split()) if _works(pid)]
        os.killpg(init.pid, signal.SIGINT)
        told = init.communicate(timeout=120)
    assert (init.returncode, told[0], told[1].split()) == (130, "", ["aborted"])
    assert not out.exists()
    assert not any(_works(pid) for pid in workers)


def _works(pid: int) -> bool:
    """Whether it is a child that looks at models, and not the tracker that each of these brings."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_folder_that_gets_no_files_is_not_left_behind(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with pytest.raises(ConfigError, match=r"out: cannot be written: No such file"):
        _publish(tmp_path / "nothing was made", models_dir() / "plain.onnx", out)
    assert list(tmp_path.iterdir()) == []


def test_a_file_name_that_no_toml_can_hold_is_refused_before_anything_runs(
    tmp_path: Path, pictures: Path, labels: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / os.fsdecode(b"m\xff.onnx")
    try:
        model.write_bytes(b"not even a model")
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    arguments = ("--images", pictures, "--labels", labels, "--out", tmp_path / "out")
    assert run("init", model, *arguments) == 2
    assert "m\\udcff.onnx': its name is not UTF-8, and" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("inputs", "outputs", "wishes", "phrase"),
    [
        ((FLOAT, FLOAT), (SCORES,), Wishes(), "has 2 inputs"),
        ((TensorSpec("x", "int16", (1, 3, 8, 8)),), (SCORES,), Wishes(), "is int16"),
        ((TensorSpec("x", "int8", (1, 3, 8, 8)),), (SCORES,), Wishes(), "without scale"),
        ((TensorSpec("x", "float32", (1, 9)),), (SCORES,), Wishes(), "is no picture"),
        ((TensorSpec("x", "float32", (1, 4, 8, 8)),), (SCORES,), Wishes(), "neither 1 nor 3"),
        ((TensorSpec("x", "float32", (8, 3, 8, 8)),), (SCORES,), Wishes(), "batches of 8"),
        ((TensorSpec("x", "float32", (-1, 3, -1, -1)),), (SCORES,), Wishes(), "--size 224x224"),
        ((FLOAT,), (SCORES,), Wishes(size=(9, 9)), "drop --size"),
        ((FLOAT,), (SCORES,), Wishes(colour="GRAY"), "is not GRAY"),
        ((FLOAT,), (TensorSpec("y", "float32", (1, 4)),), Wishes(), "3 labels, but"),
        ((FLOAT,), (TensorSpec("y", "float32", (1, 100, 4)),), Wishes(), "not detection heads"),
        ((FLOAT,), (TensorSpec("y", "int32", (1, 3)),), Wishes(), "is int32"),
        ((FLOAT,), (TensorSpec("y", "int8", (1, 3)),), Wishes(), "no scale and zero point"),
        ((FLOAT,), (SCORES, SCORES, FLOAT), Wishes(), "detection heads"),
        ((FLOAT,), (named("a"), named("b")), Wishes(), "'a' with 3, 'b' with 3; say --scores NAME"),
        ((FLOAT,), (named("a", size=-1), named("b", size=-1)), Wishes(), "'b' with any; say"),
        ((FLOAT,), (named("logits"), named("scores")), Wishes(), "which output holds the scores"),
        ((FLOAT,), (SCORES,), Wishes(scores="z"), "--scores z: want an output of 3"),
        ((FLOAT,), (SCORES, named("z", size=9)), Wishes(scores="z"), "'y' with 3, 'z' with 9"),
    ],
)
def test_a_model_that_cannot_be_guarded_is_refused_with_the_reason(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], wishes: Wishes, phrase: str
) -> None:
    with pytest.raises(ConfigError, match=phrase):
        new_card(Path("m.onnx"), DIGEST, FileSpec(inputs, outputs), LABELS, wishes)


@pytest.mark.parametrize(
    ("outputs", "wanted", "scores"),
    [
        ((named("features"), named("head", softmax=True)), None, "head"),
        ((named("features"), named("class_Logits")), None, "class_Logits"),
        ((named("scores"), named("head", softmax=True)), None, "head"),
        ((named("features"), named("head", softmax=True)), "features", "features"),
        ((named("a"), named("b")), "b", "b"),
        ((named("a"), named("b", size=-1)), "b", "b"),
    ],
)
def test_of_several_outputs_that_fit_the_scores_are_told_or_named(
    outputs: tuple[TensorSpec, ...], wanted: str | None, scores: str
) -> None:
    wishes = Wishes(scores=wanted)
    card, assumed = new_card(Path("m.onnx"), DIGEST, FileSpec((FLOAT,), outputs), LABELS, wishes)
    assert card.scores.name == scores
    said = f"output '{scores}' holds the scores (else: --scores NAME)"
    assert (said in assumed) is (wanted is None)


@pytest.mark.parametrize(
    ("colour", "mean", "std"),
    [
        ("RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("BGR", (0.406, 0.456, 0.485), (0.225, 0.224, 0.229)),
        ("GRAY", (0.459,), (0.226,)),
    ],
)
def test_mean_and_deviation_are_in_the_order_of_the_colours(
    colour: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    channels = len(mean)
    spec = FileSpec((TensorSpec("x", "float32", (1, channels, 8, 8)),), (SCORES,))
    wishes = Wishes(pixels="imagenet", colour=colour)
    card, assumed = new_card(Path("m.onnx"), DIGEST, spec, LABELS, wishes)
    assert (card.input.mean, card.input.std) == (mean, std)
    grey = "grey with ImageNet's luma: mean 0.459, std 0.226 (else: in the card)"
    assert (grey in assumed) is (colour == "GRAY")
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    seen = tensor(red, card.input)[:, 0, 0]
    of_red = {"RGB": 0, "BGR": 2}.get(colour)
    want = (76 / 255 - 0.459) / 0.226 if of_red is None else (1 - 0.485) / 0.229
    assert seen[of_red or 0] == pytest.approx(want, abs=1e-3)


def test_a_model_that_does_not_state_its_many_scores_is_refused(
    tmp_path: Path, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    make, weights = onnx.helper, np.random.default_rng(0).normal(size=(48, 1000))
    graph = make.make_graph(
        [make.make_node("Flatten", ["x"], ["flat"]), make.make_node("Gemm", ["flat", "w"], ["y"])],
        "open",
        [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 4, 4])],
        [make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, None])],
        [onnx.numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "open.onnx").write_bytes(model.SerializeToString())
    names, out = tmp_path / "ten.txt", tmp_path / "out"
    names.write_text("".join(f"class {i}\n" for i in range(10)))
    arguments = ("--images", pictures, "--labels", names, "--out", out)
    assert run("init", tmp_path / "open.onnx", *arguments) == 2
    told = capfd.readouterr().err
    assert "open.onnx: output 'y' gives 1000 values [1, 1000], the card says 10" in told
    assert not out.exists()


def test_a_model_that_cannot_say_what_the_guard_asks_for_gets_one_to_edit(tmp_path: Path) -> None:
    shipped = Card.beside(models_dir() / "plain.onnx")
    (tmp_path / shipped.file).write_bytes(shipped.model_path.read_bytes())
    outputs = (evolve(shipped.scores, scale=0.01),)
    card = evolve(shipped, outputs=outputs, golden=None, labels_file=None, directory=tmp_path)
    _write(tmp_path, card, run_ms=1.0)
    with pytest.raises(ConfigError, match=r"raise\.certainty: is 0\.95, but plain says .* less"):
        load(tmp_path / "guard.toml")


def test_a_deadline_leaves_room_and_not_ten_times_too_much() -> None:
    assert all(high <= 2.5 * low for low, high in pairwise(DEADLINES_MS))


def test_scores_of_a_stated_size_go_before_those_of_an_open_one() -> None:
    outputs = (TensorSpec("features", "float32", (1, -1)), SCORES)
    card, _ = new_card(Path("m.onnx"), DIGEST, FileSpec((FLOAT,), outputs), LABELS, Wishes())
    assert card.scores.name == "y"


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "mean", "std"),
    [
        ("int8", 1 / 255, -128, 0.0, 1.0),
        ("int8", 1.0, -128, 0.0, 1 / 255),
        ("uint8", 2 / 256, 128, 0.5, 0.5),
    ],
)
def test_a_quantized_input_tells_what_its_numbers_mean(
    dtype: str, scale: float, zero_point: int, mean: float, std: float
) -> None:
    spec = FileSpec((TensorSpec("x", dtype, (1, 8, 8, 3), scale, zero_point),), (SCORES,))
    card, _ = new_card(Path("m.tflite"), DIGEST, spec, LABELS, Wishes())
    assert (card.input.layout, card.input.mean[0], card.input.std[0]) == ("HWC", mean, std)
    black = tensor(np.zeros((8, 8, 3), np.uint8), card.input)
    white = tensor(np.full((8, 8, 3), 255, np.uint8), card.input)
    ends = np.iinfo(dtype)
    assert int(black.max()) - ends.min <= 1
    assert ends.max - int(white.min()) <= 1


def test_colours_and_layouts_of_a_tensor() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    card, _ = new_card(
        Path("m.onnx"), DIGEST, FileSpec((FLOAT,), (SCORES,)), LABELS, Wishes(colour="BGR")
    )
    assert tensor(red, card.input)[:, 0, 0].tolist() == [0.0, 0.0, 1.0]
    gray = FileSpec((TensorSpec("x", "float32", (1, 8, 8, 1)),), (SCORES,))
    card, _ = new_card(Path("m.onnx"), DIGEST, gray, LABELS, Wishes())
    assert tensor(red, card.input).shape == (8, 8, 1)
    assert tensor(red, card.input)[0, 0, 0] == pytest.approx(76 / 255)


def test_opencv_reads_the_same_pictures_as_pillow(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2")
    file = pictures / "3.png"
    by_pillow = read(file)
    found = importlib.util.find_spec
    hidden = {"PIL"}
    monkeypatch.setattr("importlib.util.find_spec", lambda n: None if n in hidden else found(n))
    assert np.array_equal(read(file), by_pillow)
    (pictures / "broken.png").write_bytes(b"x")
    with pytest.raises(ConfigError, match="is no readable picture"):
        read(pictures / "broken.png")
    hidden.add("cv2")
    with pytest.raises(ConfigError, match=r"pip install 'edgeguard-monitor\[images\]'"):
        read(file)


STRANGERS = [
    ("mlperf_tiny_resnet_int8.tflite", 10, (), "10 classes, probabilities, input int8 32x32"),
    ("mlperf_tiny_vww_96_float.tflite", 2, (), "2 classes, probabilities, input float32 96x96"),
    ("coral_mobilenet_v1_0.25_128_quant.tflite", 1001, (), "1001 classes, probabilities"),
    ("tinycnn_cifar10_int8.onnx", 10, (), "10 classes, logits, input float32 32x32"),
    ("rapidocr_ppocr_v2_cls.onnx", 2, ("--size", "48x192", "--pixels", "-1..1"), "48x192"),
    ("rapidocr_ppocr_v2_cls.onnx", 2, (), "!takes pictures of any size"),
    ("tflm_hello_world_int8.tflite", 1, (), "!is no picture"),
    ("tflm_keyword_scrambled_8bit.tflite", 2, (), "!is int16"),
]


@pytest.mark.skipif(not MODELS.is_dir(), reason=f"no models in {MODELS}")
@pytest.mark.parametrize("row", STRANGERS, ids=lambda r: f"{r[0]}-{r[3][:12]}")
def test_models_by_strangers(
    pictures: Path, row: tuple[Any, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    name, classes, extra, said = row
    labels = pictures.parent / "labels.txt"
    labels.write_text("".join(f"class {i}\n" for i in range(classes)))
    out = pictures.parent / "out"
    arguments = ["--images", pictures, "--labels", labels, "--out", out, *extra]
    status = run("init", MODELS / name, *arguments)
    told = capfd.readouterr()
    if said.startswith("!"):
        assert (status, out.exists()) == (2, False)
        assert said[1:] in told.err
        return
    assert status == 0, told.err
    assert said in told.out
    assert run("check", out / "guard.toml") == 0


def test_labels_from_json_by_class_number(
    tmp_path: Path, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    names = tmp_path / "labels.json"
    names.write_text(json.dumps({str(i): f"ü {i}" for i in range(43)}))
    out = tmp_path / "out"
    model = models_dir() / "plain.onnx"
    assert run("init", model, "--images", pictures, "--labels", names, "--out", out) == 0
    assert Card.beside(out / "plain.onnx").labels[42] == "ü 42"
    assert '# "ü 0" = 1.0' in (out / "guard.toml").read_text()
