# SPDX-License-Identifier: Apache-2.0
"""The surrogate is the deployed file: its integers are those of the runtime, or it is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgeguard.card import Card, Input
from edgeguard.errors import ModelRefused
from edgeguard.inference.quantization import TensorSpec
from edgeguard.intake.preprocess import InputSpec, Preprocessor
from edgeguard.lab.attacks.victim import Pixels, Victim
from edgeguard.lab.surrogate import Surrogate, SurrogateDisagrees, agrees, deployed, require
from edgeguard.lab.surrogate_layers import (
    Affine,
    Dequantize,
    Linear,
    Program,
    Quantize,
    ScaledSum,
    Window,
)
from edgeguard.zoo import models_dir
from tests.lab.signs import signs

ROOT = Path(__file__).resolve().parents[2]
STRANGERS = Path(os.environ.get("EDGEGUARD_DATA", ROOT.parent / "shared" / "data")) / "models"
needs_strangers = pytest.mark.skipif(
    not STRANGERS.is_dir(), reason="needs the models of the data set"
)

ZOO = [models_dir("gtsrb") / f for f in ("plain.onnx", "robust.onnx", "compact.tflite")]
ZOO += [models_dir("drive") / f for f in ("grey.onnx", "hard.onnx", "colour.tflite")]


def inputs(surrogate: Surrogate, count: int) -> np.ndarray:
    """Real pictures in the shape and type that a file takes."""
    spec = surrogate.spec.inputs[0]
    shape = spec.shape[1:]
    if len(shape) == 1:
        return np.random.default_rng(0).integers(-128, 128, (count, *shape)).astype(np.int8)
    hwc = shape[-1] in (1, 3)
    height, width = shape[:2] if hwc else shape[1:]
    x = signs(count, height, width)[0]
    x = x[:, : shape[-1] if hwc else shape[0]]
    x = x.transpose(0, 2, 3, 1) if hwc else x
    if spec.dtype == "float32":
        return np.ascontiguousarray((x / np.float32(255) - np.float32(0.5)) * np.float32(4))
    return np.ascontiguousarray(x if spec.dtype == "uint8" else (x.astype(int) - 128)).astype(
        spec.dtype
    )


@pytest.mark.parametrize("path", ZOO, ids=lambda p: p.name)
def test_shipped_models_agree(path: Path) -> None:
    surrogate = Surrogate.load(path)
    found = agrees(surrogate, deployed(path), inputs(surrogate, 120))
    require(found)
    assert found.n == 120
    assert found.largest_steps <= (1 if path.suffix == ".tflite" else 0)


@needs_strangers
@pytest.mark.parametrize("name", [
    "tinycnn_cifar10_int8.onnx", "mlperf_tiny_resnet_int8.tflite", "mlperf_tiny_vww_96_int8.tflite",
    "coral_mobilenet_v1_0.25_128_quant.tflite", "tflm_hello_world_int8.tflite",
])  # fmt: skip
def test_strangers_models_agree(name: str) -> None:
    surrogate = Surrogate.load(STRANGERS / name)
    found = agrees(surrogate, deployed(STRANGERS / name), inputs(surrogate, 24))
    require(found)


@needs_strangers
@pytest.mark.parametrize(("name", "said"), [
    ("tflm_keyword_scrambled_8bit.tflite", "SVDF"),
    ("mlperf_tiny_resnet_float.tflite", "not quantized"),
    ("rapidocr_ppocr_v2_cls.onnx", "Conv reads numbers"),
])  # fmt: skip
def test_what_is_not_known_is_named(name: str, said: str) -> None:
    with pytest.raises(ModelRefused, match=said) as caught:
        Surrogate.load(STRANGERS / name)
    assert name in str(caught.value)


def test_another_file_is_refused(tmp_path: Path) -> None:
    """One bias of the file is changed behind the surrogate's back."""
    plain = models_dir() / "plain.onnx"
    model = onnx.load(str(plain))
    bias = next(t for t in model.graph.initializer if t.name == "head.bias_quantized")
    values = numpy_helper.to_array(bias).copy()
    values[7] += 4000
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    onnx.save(model, str(tmp_path / "other.onnx"))
    surrogate = Surrogate.load(plain)
    found = agrees(surrogate, deployed(tmp_path / "other.onnx"), inputs(surrogate, 20))
    assert found.differing == 20
    with pytest.raises(SurrogateDisagrees, match=r"plain\.onnx"):
        require(found)


def test_no_pictures_are_no_proof() -> None:
    path = models_dir() / "compact.tflite"
    with pytest.raises(SurrogateDisagrees):
        Victim(path, np.zeros((0, 3, 32, 32), np.uint8))


@pytest.mark.parametrize("wide", [False, True])
def test_a_layer_is_int32_arithmetic(wide: bool) -> None:
    """Against int64 and the documented requantization; wide: sums beyond 2^24."""
    rng = np.random.default_rng(int(wide))
    n = 4000 if wide else 30
    w = np.full((3, n), 127) if wide else rng.integers(-127, 128, (3, n))
    b, x = rng.integers(-5000, 5000, 3), rng.integers(-128, 128, (9, n))
    s = np.array([0.002, 0.003, 0.0011], np.float32)
    ends = Affine(0.01, -128), Affine(float(np.float32(90.0 if wide else 0.7)), 3)
    layer = Linear(*(torch.from_numpy(a) for a in (w, b, s)), *ends, None)
    assert layer.wide == (torch.float64 if wide else torch.float32)
    total = (x + 128) @ w.T + b
    factor = np.float32(0.01) * s / np.float32(ends[1].scale)
    want = np.clip(np.rint(total.astype(np.float32) * factor) + 3, -128, 127)
    got = layer(torch.from_numpy(x.astype(np.float32))).numpy()
    np.testing.assert_array_equal(got, want)


def test_gradients_pass_rounding_and_stop_at_the_rails() -> None:
    w, b = torch.tensor([[2, -3]]), torch.tensor([0])
    layer = Linear(w, b, torch.tensor([0.5]), Affine(0.1, 0), Affine(0.2, 0), None)
    x = torch.tensor([[10.3, 4.2], [500.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    torch.testing.assert_close(gradient[0], torch.tensor([2.0, -3.0]) * 0.25)
    assert gradient[1].abs().sum() == 0


def test_a_sum_rounds_half_to_even() -> None:
    unit = Affine(1.0, 0)
    made = ScaledSum(unit, unit, Affine(2.0, 0))(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0]))
    assert made.tolist() == [0.0, 2.0]  # 0.5 and 1.5


def test_uneven_pads_are_kept() -> None:
    w = torch.ones(1, 1, 2, 2, dtype=torch.int64)
    window = Window(pads=(0, 0, 1, 1))
    layer = Linear(
        w, torch.tensor([0]), torch.tensor([1.0]), Affine(1.0, 0), Affine(1.0, 0), window
    )
    made = layer(torch.ones(1, 1, 2, 2))
    assert made.flatten().tolist() == [4.0, 2.0, 2.0, 1.0]


def held_to_the_kernel(entry: Input, spec: TensorSpec) -> None:
    """The lab's pixels against the deployed preprocessing: every grey level, and real signs."""
    levels = np.arange(1024, dtype=np.uint8).reshape(32, 32)
    pictures = np.concatenate([signs(5)[0], np.stack([levels, levels[::-1], levels.T])[None]])
    got = Pixels(spec, entry).array(pictures)
    kernel = InputSpec.of(entry)
    run = Preprocessor(kernel, 32, 32, "RGB", statistics=False).run
    for picture, tensor in zip(pictures, got, strict=True):
        want = kernel.empty()
        run(np.ascontiguousarray(picture.transpose(1, 2, 0)), want)
        np.testing.assert_array_equal(tensor[None], want)


@pytest.mark.parametrize("path", ZOO[:3], ids=lambda p: p.name)
def test_pictures_enter_as_the_card_says(path: Path) -> None:
    held_to_the_kernel(Card.beside(path).input, Surrogate.load(path).spec.inputs[0])


UNEQUAL = {"mean": (0.406, 0.456, 0.485), "std": (0.225, 0.224, 0.229)}
HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "scale": 2 / 255}


@pytest.mark.parametrize("entry", [
    Input("CHW", "float32", (32, 32), colour="BGR", **UNEQUAL),
    Input("CHW", "int8", (32, 32), 0.02, 3, "BGR", **UNEQUAL),
    Input("HWC", "uint8", (32, 32), 0.02, 110, "RGB", **UNEQUAL),
    Input("CHW", "int8", (32, 32), colour="RGB", **HALF),
    Input("HWC", "int8", (32, 32), 1 / 255, -128, "BGR"),
], ids=["bgr", "bgr int8", "rgb uint8", "ties", "direct"])  # fmt: skip
def test_pictures_enter_as_any_card_says(entry: Input) -> None:
    """Also where mean and std are each channel's own, and where float32 decides ties."""
    spec = TensorSpec("x", entry.dtype, entry.shape, entry.scale, entry.zero_point)
    held_to_the_kernel(entry, spec)
    x = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    made = Pixels(spec, entry)(x)
    made = made.permute(0, 3, 1, 2) if entry.layout == "HWC" else made
    (slope,) = torch.autograd.grad(made.sum(), x)
    std = torch.tensor(entry.std[:: -1 if entry.colour == "BGR" else 1])
    torch.testing.assert_close(slope[0, :, 0, 0], 1 / std / (entry.scale or 1.0))


def test_labels_are_compared_on_the_output_with_the_scores() -> None:
    """Which is not always the first: the card says which."""
    path = models_dir("gtsrb") / "plain.onnx"
    surrogate, answer = Surrogate.load(path), deployed(path)

    def other(x: np.ndarray) -> list[np.ndarray]:
        first, second = answer(x)
        return [first, np.roll(second, 1, axis=1)]

    x = inputs(surrogate, 8)
    assert agrees(surrogate, other, x).labels_differing == 0
    assert agrees(surrogate, other, x, scores=1).labels_differing == 8


def with_another_head(folder: Path) -> Path:
    """The shipped file with a softmax on its embedding as a third output."""
    model = onnx.load(str(models_dir("gtsrb") / "plain.onnx"))
    graph = model.graph
    quantizer = next(n for n in graph.node if n.op_type == "QuantizeLinear"
                     and n.output[0] == "embedding")  # fmt: skip
    graph.node.append(
        onnx.helper.make_node("DequantizeLinear", ["embedding", *quantizer.input[1:]], ["numbers"])
    )
    graph.node.append(onnx.helper.make_node("Softmax", ["numbers"], ["aux"], axis=-1))
    kind = onnx.TensorProto.FLOAT
    graph.output.append(onnx.helper.make_tensor_value_info("aux", kind, ["N", 96]))
    onnx.save(model, str(folder / "two.onnx"))
    return folder / "two.onnx"


def test_a_softmax_elsewhere_is_not_taken_for_the_scores(tmp_path: Path) -> None:
    two = Surrogate.load(with_another_head(tmp_path))
    plain = Surrogate.load(models_dir("gtsrb") / "plain.onnx")
    x = torch.from_numpy(inputs(plain, 4).astype(np.float32))
    assert torch.equal(two.scores(x), plain.scores(x))
    assert two.scores(x, "aux").shape == (4, 96)
    assert not torch.allclose(two.scores(x, "aux"), two(x)[2])  # before the softmax, not behind it


def test_scores_behind_a_softmax_are_what_it_reads() -> None:
    """Also where its probabilities are steps, and are made numbers again."""
    made = Program("x", ["y"])
    made.add(lambda x: x.softmax(1), ["x"], "p")
    made.logits["p"] = "x", None
    made.add(Quantize(Affine(1 / 256, -128)), ["p"], "steps")
    made.add(lambda x: x, ["steps"], "kept", same=True)
    made.add(Dequantize(Affine(1 / 256, -128)), ["kept"], "y")
    made.add(torch.relu, ["y"], "z")
    assert made.before_softmax("y") == ("x", None)
    assert made.before_softmax("z") is None


def test_scores_that_name_another_label_than_the_file_are_no_agreement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What attacks climb has to say what the file says."""
    path = models_dir("gtsrb") / "compact.tflite"
    surrogate = Surrogate.load(path)
    x = inputs(surrogate, 8)
    right = surrogate._scores
    monkeypatch.setattr(surrogate, "_scores", lambda *a: right(*a).roll(1, 1))
    found = agrees(surrogate, deployed(path), x)
    assert (found.largest_steps, found.labels_differing) == (0, 8)
    with pytest.raises(SurrogateDisagrees, match="8 in the label"):
        require(found)
