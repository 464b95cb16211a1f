# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of a float twin: what is trained is what is written, and it resists more after it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs its extra")
ort = pytest.importorskip("onnxruntime", reason="the plain member runs on it")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from edgeguard.lab.attacks.victim import images  # noqa: E402
from edgeguard.lab.defences import harden  # noqa: E402
from edgeguard.lab.zoo import data, quantize_onnx  # noqa: E402
from edgeguard.lab.zoo.adversarial import PGD, Linf, Target  # noqa: E402
from edgeguard.lab.zoo.onnx_torch import OnnxNet  # noqa: E402
from edgeguard.zoo import models_dir  # noqa: E402

TWIN = models_dir() / "plain.float.onnx"


def run(file, pixels):
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run([quantize_onnx.SCORES], {quantize_onnx.INPUT: images(pixels).numpy()})[0]


def test_what_was_trained_is_what_is_written(tmp_path, pictures):
    net = harden.Tunable(TWIN)
    with torch.no_grad():
        for weight in net.trained:
            weight.mul_(1.01)
    net.save(tmp_path / "twin.onnx")
    want = net.scores(images(pictures[0])).detach().numpy()
    assert run(tmp_path / "twin.onnx", pictures[0]) == pytest.approx(want, rel=1e-4, abs=1e-4)
    assert np.abs(run(TWIN, pictures[0]) - want).max() > 0.05


def test_with_ranges_it_answers_as_the_int8_file_does(tmp_path, pictures):
    """Nearer to the file than the float twin is."""
    pixels, _ = pictures
    net = harden.Tunable(TWIN)
    bare = net.scores(images(pixels)).detach().numpy()
    net.observe(images(pixels))
    rounded = net.scores(images(pixels)).detach().numpy()
    file = tmp_path / "int8.onnx"
    harden.write(harden.Tunable(TWIN), pixels.transpose(0, 2, 3, 1), file)
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (scale, zero), steps = quantize_onnx.quantization(file)[quantize_onnx.SCORES], []
    for picture in pixels:
        fed = (picture.astype(np.int16) - 128).astype(np.int8)[None]
        steps.append(session.run([quantize_onnx.SCORES], {quantize_onnx.INPUT: fed})[0][0])
    deployed = scale * (np.array(steps, np.float64) - zero)
    assert np.abs(rounded - deployed).mean() < np.abs(bare - deployed).mean()


@settings(deadline=None)
@given(st.lists(st.floats(-50, 50, width=32), min_size=1), st.floats(-40, -0.1), st.floats(0.1, 40))
def test_rounding_to_steps_is_that_of_onnx(values, low, high):
    x = np.array(values, np.float32)
    scale, zero = quantize_onnx.affine(low, high)
    want = (np.clip(np.rint(x / np.float32(scale)) + zero, -128, 127) - zero) * scale
    leaf = torch.from_numpy(x).requires_grad_()
    made = harden.steps(leaf, low, high)
    assert made.detach().numpy() == pytest.approx(want, rel=1e-5, abs=1e-5)
    made.sum().backward()
    inside = (x > low + scale) & (x < high - scale)
    assert (leaf.grad.numpy()[inside] == 1).all()


def test_what_was_always_0_has_no_steps():
    x = torch.tensor([0.0, 0.25])
    assert torch.equal(harden.steps(x, 0.0, 0.0), x)


def test_diverse_needs_another_member(pictures):
    pixels, y = pictures
    few = data.Images(pixels.transpose(0, 2, 3, 1), y, np.full(len(y), -1))
    with pytest.raises(ValueError, match="diverse: needs"):
        harden.fit(harden.Recipe("diverse"), TWIN, few)


@pytest.mark.parametrize("way", harden.WAYS)
def test_each_way_makes_the_attacker_work_harder(way, pictures):
    """On pictures that it was trained on, so that few epochs show it."""
    pixels, y = pictures
    shown = np.tile(pixels.transpose(0, 2, 3, 1), (4, 1, 1, 1))
    many = data.Images(shown, np.tile(y, 4), np.full(len(shown), -1))
    how = harden.Recipe(way, epochs=3, every=1, batch=16, lr=3e-4, steps=2)
    other = OnnxNet(models_dir() / "robust.float.onnx").scores if way == "diverse" else None
    net, seconds = harden.fit(how, TWIN, many, other)
    x, labels, attack = images(pixels), torch.from_numpy(y), PGD(steps=10, step=0.25, restarts=1)
    before, after = (
        attack(Target(scores), x, labels, Linf(harden.RADIUS))[1].mean()
        for scores in (OnnxNet(TWIN).scores, net.scores)
    )
    assert after > before + 0.5
    assert seconds > 0
