# SPDX-License-Identifier: Apache-2.0
"""Models that others made: classifiers and continuous outputs load, the rest is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models

from edgeguard.card import Card
from edgeguard.errors import ModelRefused
from edgeguard.inference.golden import answers, record
from edgeguard.inference.members import MemberSpec, open_members
from edgeguard.inference.model import Model, inspect_model, load_model, open_model

FOLDER = tiny_models.DATA / "models"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no models in {FOLDER}")

NAMES = {
    "coral_mobilenet_v1_0.25_128_quant.tflite": "probabilities",
    "mlperf_tiny_resnet_float.tflite": "probabilities",
    "mlperf_tiny_resnet_int8.tflite": "probabilities",
    "mlperf_tiny_vww_96_float.tflite": "probabilities",
    "mlperf_tiny_vww_96_int8.tflite": "probabilities",
    "rapidocr_ppocr_v2_cls.onnx": "probabilities",
    "tinycnn_cifar10_float.onnx": "logits",
    "tinycnn_cifar10_int8.onnx": "logits",
    "tflm_hello_world_int8.tflite": "value",
}


def card_for(name: str, folder: Path) -> Card:
    """What `edgeguard init` would write, from what the file says; size where it leaves it open."""
    path = folder / name
    shutil.copy(FOLDER / name, path)
    spec = inspect_model(path)
    image, scores = spec.inputs[0], spec.outputs[0]
    shape = [
        d if d > 0 else default for d, default in zip(image.shape, (1, 3, 48, 192), strict=False)
    ]
    layout = "VECTOR" if len(shape) == 2 else ("CHW" if shape[1] == 3 else "HWC")
    kind = NAMES[name]
    assert scores.softmax == (kind == "probabilities")
    size = {"VECTOR": shape[1:], "CHW": shape[2:], "HWC": shape[1:3]}[layout]
    card = {
        "name": path.stem, "file": name, "sha256": tiny_models.digest(path),
        "runtime": "onnx" if path.suffix == ".onnx" else "litert",
        "task": "regressor" if kind == "value" else "classifier",
        "labels": [] if kind == "value" else [str(k) for k in range(scores.size)],
        "input": {"layout": layout, "dtype": image.dtype, "size": size,
                  "scale": image.scale, "zero_point": image.zero_point},
        "outputs": [{"name": scores.name, "dtype": scores.dtype, "kind": kind, "size": scores.size,
                     "scale": scores.scale, "zero_point": scores.zero_point}],
        "value_range": [-2.0, 2.0] if kind == "value" else None,
    }  # fmt: skip
    return Card.from_dict(card, folder)


def inputs_for(card: Card) -> Any:
    """Six smooth random pictures, for noise makes some of these models answer all alike."""
    rng = np.random.default_rng(5)
    shape = (6, *card.input.shape[1:])
    coarse = rng.random(shape)
    if card.input.dtype == "float32":
        return coarse.astype(np.float32)
    info = np.iinfo(card.input.dtype)
    return (info.min + coarse * (info.max - info.min)).astype(card.input.dtype)


def plain_run(path: Path, inputs: Any) -> Any:
    """The raw scores, by the runtime's own Python face."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return np.concatenate([session.run(None, {name: x[None]})[0] for x in inputs])
    module = "ai_edge_litert" if find_spec("ai_edge_litert") else "tflite_runtime"
    interpreter = import_module(f"{module}.interpreter").Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    rows = []
    for x in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.concatenate(rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_strangers_model_loads_and_gives_the_runtimes_scores(name: str, tmp_path: Path) -> None:
    card = card_for(name, tmp_path)
    inputs = inputs_for(card)
    opened = open_model(card)
    golden = record(opened, inputs, tmp_path / "golden.npz")
    complete = card.to_dict() | {"golden": {"file": golden.file, "sha256": golden.sha256}}
    model = load_model(Card.from_dict(complete, tmp_path))
    expected = plain_run(FOLDER / name, inputs).reshape(len(inputs), -1)
    assert np.array_equal(answers(model, inputs), expected)
    assert_input_is_used(model, inputs)


def assert_input_is_used(model: Model, inputs: Any) -> None:
    shared = np.zeros_like(model.input)
    model.bind_input(shared)
    shared[0] = inputs[3]
    model.run()
    assert np.array_equal(model.scores, answers(model, inputs[3:4])[0])


def test_xnnpack_is_reported_and_can_be_kept_off(tmp_path: Path) -> None:
    card = card_for("mlperf_tiny_resnet_int8.tflite", tmp_path)
    assert open_model(card, providers=["CPU"]).provider == "CPU"
    if find_spec("ai_edge_litert"):
        assert open_model(card).provider == "XNNPACK"
        assert open_model(card, providers=["XNNPACK"]).provider == "XNNPACK"
        return
    assert open_model(card).provider == "CPU", "tflite-runtime 2.14 has it for floats only"
    with pytest.raises(ModelRefused, match="XNNPACK was requested, this runtime runs the model on"):
        open_model(card, providers=["XNNPACK"])


def test_a_delegate_that_does_not_load_is_refused(tmp_path: Path) -> None:
    card = card_for("mlperf_tiny_vww_96_int8.tflite", tmp_path)
    with pytest.raises(ModelRefused, match=r"delegate libedgetpu.so.1 was requested and does not"):
        open_model(card, providers=["libedgetpu.so.1"])


# A delegate as TfLiteDelegate of the C API lays it out: it prepares, and takes no node.
IDLE_DELEGATE = """
#include <stdint.h>
#include <stdlib.h>
typedef struct D {
  void *data; int (*prepare)(void *, struct D *); void *copy[3]; int64_t flags; void *opaque;
} D;
static int prepare(void *context, D *self) { (void)context; (void)self; return 0; }
D *tflite_plugin_create_delegate(char **k, char **v, size_t n, void (*e)(const char *)) {
  (void)k; (void)v; (void)n; (void)e;
  D *d = calloc(1, sizeof *d + 64);
  d->prepare = prepare;
  return d;
}
void tflite_plugin_destroy_delegate(D *d) { free(d); }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the idle delegate")
def test_a_delegate_that_takes_no_node_is_refused(tmp_path: Path) -> None:
    (tmp_path / "idle.c").write_text(IDLE_DELEGATE)
    library = str(tmp_path / "libidle.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(tmp_path / "idle.c")], check=True)
    card = card_for("mlperf_tiny_vww_96_int8.tflite", tmp_path)
    with pytest.raises(ModelRefused, match="is not what runs: it took no node of the model"):
        open_model(card, providers=[library])


def test_a_name_that_is_no_text_is_refused_in_ours(tmp_path: Path) -> None:
    """Found by flipping bytes: the runtime's Python face raises UnicodeDecodeError over it."""
    data = (FOLDER / "tflm_hello_world_int8.tflite").read_bytes()
    (tmp_path / "s.tflite").write_bytes(data.replace(b"serving_default", b"serving\xff\xfeefault"))
    with pytest.raises(ModelRefused, match=r"s\.tflite: the runtime refuses it"):
        inspect_model(tmp_path / "s.tflite")


def test_f28_a_file_that_crashes_its_parser_takes_only_the_worker(tmp_path: Path) -> None:
    """One byte is missing in the middle: tflite-runtime 2.14 segfaults, ai-edge-litert refuses."""
    card = card_for("tflm_hello_world_int8.tflite", tmp_path)
    data = card.model_path.read_bytes().replace(b"serving_default", b"serving_defaul")
    card.model_path.write_bytes(data)
    changed = card.to_dict() | {"sha256": hashlib.sha256(data).hexdigest()}
    spec = MemberSpec("m", Card.from_dict(changed, tmp_path), isolation="process")
    with pytest.raises(ModelRefused, match=r"tflm_hello_world_int8\.tflite: the (worker|runtime)"):
        open_members([spec])


def test_every_file_of_the_collection_is_known_here() -> None:
    """The scrambled keyword model aborts its process when it runs; its types are refused before."""
    known = {*NAMES, "tflm_keyword_scrambled_8bit.tflite"}
    assert {p.name for p in FOLDER.iterdir() if p.suffix in (".onnx", ".tflite")} == known


def test_a_model_of_other_types_is_refused_before_it_runs(tmp_path: Path) -> None:
    data = (FOLDER / "tflm_keyword_scrambled_8bit.tflite").read_bytes()
    (tmp_path / "k.tflite").write_bytes(data)
    card = {
        "name": "k", "file": "k.tflite", "sha256": hashlib.sha256(data).hexdigest(),
        "runtime": "litert", "task": "classifier", "labels": ["a", "b"],
        "input": {"layout": "VECTOR", "dtype": "int8", "size": [96], "scale": 1.0},
        "outputs": [{"name": "o", "dtype": "int8", "kind": "logits", "size": 2, "scale": 1.0}],
    }  # fmt: skip
    with pytest.raises(ModelRefused, match=r"input.dtype: the card says int8, the file says int16"):
        load_model(Card.from_dict(json.loads(json.dumps(card)), tmp_path))
