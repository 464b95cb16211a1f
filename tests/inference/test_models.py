# SPDX-License-Identifier: Apache-2.0
"""A model gives the runtime's very scores, and only the model that its card describes is loaded."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_models
from tiny_models import build, images, reference, refusal, tiny, weights, write

from edgeguard.card import Card
from edgeguard.errors import InferenceError
from edgeguard.inference.golden import answers, record
from edgeguard.inference.model import Model, inspect_model, load_model, open_model

# --- one face ---


@pytest.mark.parametrize("ends", ["int8", "step", "float", "softmax"])
def test_scores_are_those_of_a_plain_session(tmp_path: Path, ends: str) -> None:
    data = build(weights(), ends)
    model = load_model(Card.load(write(tmp_path, data, ends)))
    inputs = images(20, seed=77, dtype=str(model.input.dtype))
    assert np.array_equal(answers(model, inputs), reference(data, inputs))
    assert model.provider == "CPUExecutionProvider"
    assert model.embedding is not None
    assert model.embedding.max() > 0


def test_models_share_an_input_and_write_to_given_scores_without_a_copy(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    a, b = build(weights(1)), build(weights(2))
    models = [load_model(Card.load(write(p, d))) for p, d in ((tmp_path, a), (tmp_path / "b", b))]
    shared, scores = np.zeros(tiny_models.SHAPE, np.int8), np.zeros((2, 5), np.int8)
    for model, row in zip(models, scores, strict=True):
        model.bind_input(shared)
        model.bind_scores(row)
    for image in images(5):
        shared[0] = image
        for model in models:
            model.run()
        assert np.array_equal(scores[:1], reference(a, image[None]))
        assert np.array_equal(scores[1:], reference(b, image[None]))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 4, 4, 3), np.int8),
        np.zeros(tiny_models.SHAPE, np.float32),
        np.zeros((1, 3, 4, 8), np.int8)[..., ::2],
    ],
    ids=["shape", "dtype", "strides"],
)
def test_a_buffer_that_does_not_fit_is_not_bound(tmp_path: Path, array: Any) -> None:
    with pytest.raises(ValueError, match="input: "):
        load_model(tiny(tmp_path)).bind_input(array)


def test_inputs_may_be_read_only_and_scores_may_not(tmp_path: Path) -> None:
    model = load_model(tiny(tmp_path))
    model.bind_input(np.frombuffer(images()[1].tobytes(), np.int8).reshape(tiny_models.SHAPE))
    model.run()
    assert np.array_equal(model.scores, reference(build(weights()), images()[1:2])[0])
    with pytest.raises(ValueError, match="scores: the array is read-only"):
        model.bind_scores(np.frombuffer(bytes(5), np.int8))


def test_a_closed_model_raises_inference_error(tmp_path: Path) -> None:
    model = load_model(tiny(tmp_path))
    model.close()
    with pytest.raises(InferenceError, match=r"tiny\.onnx"):
        model.run()


def test_running_allocates_nothing_that_stays(tmp_path: Path) -> None:
    assert_nothing_stays(load_model(tiny(tmp_path)))


def test_running_a_tflite_model_allocates_nothing_that_stays() -> None:
    path = tiny_models.DATA / "models" / "tflm_hello_world_int8.tflite"
    if not path.is_file():
        pytest.skip(f"no {path}")
    (image,), (value,) = inspect_model(path).inputs, inspect_model(path).outputs
    card = {
        "name": "sine", "file": path.name, "sha256": tiny_models.digest(path), "runtime": "litert",
        "task": "regressor",
        "input": {"layout": "VECTOR", "dtype": "int8", "size": [1],
                  "scale": image.scale, "zero_point": image.zero_point},
        "outputs": [{"name": value.name, "dtype": "int8", "kind": "value", "size": 1,
                     "scale": value.scale, "zero_point": value.zero_point}],
    }  # fmt: skip
    assert_nothing_stays(open_model(Card.from_dict(card, path.parent)))


def assert_nothing_stays(model: Model) -> None:
    for _ in range(100):
        model.run()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    resident = resident_pages()
    for _ in range(10_000):
        model.run()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 2_000
    assert resident_pages() - resident < 256


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.parametrize("path", tiny_models.SHIPPED, ids=lambda p: p.name)
def test_the_shipped_models_pass_their_self_test(path: Path) -> None:
    model = load_model(Card.load(path))
    assert model.embedding is not None
    model.run()


# --- the file is the card's file ---


def test_another_file_under_the_same_name_is_refused(tmp_path: Path) -> None:
    card = tiny(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(build(weights(4)))
    assert "is not the file of its card 'tiny': SHA-256" in refusal(card)
    assert str(tmp_path / "tiny.onnx") in refusal(card)
    (tmp_path / "tiny.onnx").unlink()
    assert "cannot be read" in refusal(card)


def test_swapped_golden_vectors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    card, other = tiny(tmp_path), Card.load(write(tmp_path / "b", build(weights(4))))
    golden = other.directory / "tiny.golden.npz"
    shutil.copy(golden, tmp_path)
    assert "golden vectors are not those of the card" in refusal(card)
    card = tiny(
        tmp_path, golden={"file": "b/tiny.golden.npz", "sha256": tiny_models.digest(golden)}
    )
    assert "golden input 0: " in refusal(card)


def test_a_card_without_golden_vectors_is_refused_but_opens_for_writing_them(
    tmp_path: Path,
) -> None:
    card = tiny(tmp_path, golden=None)
    assert "no golden vectors; `edgeguard init` writes those of a classifier" in refusal(card)
    golden = record(open_model(card), images(3), tmp_path / "new.npz")
    assert (golden.file, golden.inputs) == ("new.npz", 3)
    load_model(tiny(tmp_path, golden={"file": golden.file, "sha256": golden.sha256}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x93NUMPY"], ids=repr)
def test_unreadable_golden_vectors_are_refused(tmp_path: Path, content: bytes) -> None:
    tiny(tmp_path)
    path = tmp_path / "tiny.golden.npz"
    path.write_bytes(content)
    card = tiny_models.Card.load(tmp_path / "tiny.card.json").to_dict()
    card["golden"]["sha256"] = tiny_models.digest(path)
    assert "golden vectors cannot be read" in refusal(Card.from_dict(card, tmp_path))


def test_golden_vectors_of_another_shape_are_refused(tmp_path: Path) -> None:
    card = tiny(tmp_path, golden=None)
    np.savez(tmp_path / "g.npz", x=images()[:, :, :2], scores=np.zeros((4, 5), np.int8))
    entry = {"file": "g.npz", "sha256": tiny_models.digest(tmp_path / "g.npz")}
    assert "x: want int8 [N, 3, 4, 4], got int8 (4, 3, 2, 4)" in refusal(
        tiny(tmp_path, golden=entry)
    )
    assert card.golden is None


# --- the file says what the card says ---


@pytest.mark.parametrize(
    ("part", "key", "value", "complaint"),
    [
        ("input", "scale", 0.1, "input.scale: the card says 0.1, the file says 0.00392156886"),
        ("input", "zero_point", 0, "input.zero_point: the card says 0, the file says -128"),
        ("input", "dtype", "uint8", "input.dtype: the card says uint8, the file says int8"),
        ("input", "layout", "HWC", "the card says [1, 4, 4, 3], the file says [1, 3, 4, 4]"),
        ("outputs", "scale", 0.06, "outputs[0].scale: the card says 0.06, the file says 0.05"),
        ("outputs", "zero_point", 9, "outputs[0].zero_point: the card says 9, the file says -10"),
        (
            "outputs",
            "name",
            "s",
            "outputs[0].name: the card says 's', the file has 'scores', 'embedding'",
        ),
        ("outputs", "size", 6, "outputs[0].size: the card says 6, the file says 5"),
    ],
)
def test_a_card_that_contradicts_its_file_is_refused_with_both_values(
    tmp_path: Path, part: str, key: str, value: Any, complaint: str
) -> None:
    card = tiny(tmp_path).to_dict()
    if (part, key, value) == ("input", "dtype", "uint8"):
        card["input"]["zero_point"] = 3
    if key == "size":
        card["labels"] = list("abcdef")
    (card["outputs"][0] if part == "outputs" else card["input"])[key] = value
    assert complaint in refusal(Card.from_dict(card, tmp_path))


@pytest.mark.parametrize(("output", "made"), [("scores", 1000), ("scores", 6), ("embedding", 9)])
def test_an_output_of_open_size_is_refused_unless_it_gives_what_the_card_says(
    tmp_path: Path, output: str, made: int
) -> None:
    """The runtime would write that many values into a buffer of the card's size."""
    assert load_model(opened_up(tmp_path, weights())).scores.shape == (tiny_models.CLASSES,)
    parts = weights()
    if output == "scores":
        parts |= {"w2": np.ones((tiny_models.WIDTH, made), np.float32)}
        parts |= {"b2": np.zeros(made, np.float32)}
    else:
        parts |= {"w1": np.ones((tiny_models.PIXELS, made), np.float32)}
        parts |= {"w2": np.ones((made, tiny_models.CLASSES), np.float32)}
    told = refusal(opened_up(tmp_path, parts, scores=np.zeros((4, 5), np.int8)))
    assert str(tmp_path / "tiny.onnx") in told
    assert f"output {output!r} gives {made} values [1, {made}], the card says " in told


def opened_up(folder: Path, parts: dict[str, Any], **changes: Any) -> Card:
    """A model whose file does not say how many values its outputs hold."""
    model = onnx.load_from_string(build(parts))
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[1].Clear()
    return Card.load(write(folder, model.SerializeToString(), **changes))


def test_a_detection_head_is_refused_with_that_sentence(tmp_path: Path) -> None:
    model = onnx.load_from_string(build(weights()))
    model.graph.output.append(onnx.helper.make_tensor_value_info("boxes", 1, [1, 100, 4]))
    card = Card.load(write(tmp_path, build(weights()))).to_dict()
    (tmp_path / "tiny.onnx").write_bytes(model.SerializeToString())
    card["sha256"] = tiny_models.digest(tmp_path / "tiny.onnx")
    assert (
        "output 'boxes' [1, 100, 4] holds boxes; edgeguard guards classifiers and continuous "
        "outputs, not detection heads" in refusal(Card.from_dict(card, tmp_path))
    )


@pytest.mark.parametrize("runtime", ["onnx", "litert"])
@pytest.mark.parametrize("kind", ["garbage", "empty", "cut"])
def test_a_broken_file_is_refused_even_with_the_right_hash(
    tmp_path: Path, runtime: str, kind: str
) -> None:
    whole = build(weights())
    data = {"garbage": b"not a model at all", "empty": b"", "cut": whole[: len(whole) // 2]}[kind]
    card = tiny(tmp_path).to_dict() | {"runtime": runtime}
    (tmp_path / "tiny.onnx").write_bytes(data)
    card["sha256"] = tiny_models.digest(tmp_path / "tiny.onnx")
    assert str(tmp_path / "tiny.onnx") in refusal(Card.from_dict(card, tmp_path))


def test_an_operator_that_the_runtime_lacks_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(build(weights()))
    model.graph.node[2].op_type = "Conjure"
    card = tiny(tmp_path).to_dict()
    (tmp_path / "tiny.onnx").write_bytes(model.SerializeToString())
    card["sha256"] = tiny_models.digest(tmp_path / "tiny.onnx")
    assert "the runtime refuses it" in refusal(Card.from_dict(card, tmp_path))


def test_the_runtime_of_the_configuration_must_be_the_cards(tmp_path: Path) -> None:
    complaint = "runtime: the card says onnx, the configuration says litert"
    assert complaint in refusal(tiny(tmp_path), None, "litert")
