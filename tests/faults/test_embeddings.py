# SPDX-License-Identifier: Apache-2.0
"""A real model that sees what it never saw: what the car is told."""

from __future__ import annotations

import numpy as np
import pytest

from edgeguard import Guard, config
from edgeguard.card import Card
from edgeguard.config.vocabulary import EMBEDDING_FEATURES
from edgeguard.errors import ConfigError
from edgeguard.evidence import embedding
from edgeguard.inference.model import load_model
from edgeguard.intake.camera import Camera
from edgeguard.intake.preprocess import InputSpec
from edgeguard.zoo import models_dir
from tests.faults.bench import COMPACT, POLICY
from tests.faults.watched import calibrated

CAMERA = (
    COMPACT
    + """
[detector.strange]
kind = "embedding"
member = "compact"
feature = "{feature}"
above = {above}
"""
)


@pytest.fixture(scope="module")
def known():
    """A picture of a sign, its near copies, and their embeddings by the shipped compact model."""
    card = Card.beside(models_dir("gtsrb") / "compact.tflite")
    model = load_model(card)
    golden = np.load(models_dir("gtsrb") / "compact.golden.npz")
    rng = np.random.default_rng(0)
    scenes = sign_pictures(golden, card)
    near = np.concatenate(
        [np.clip(s + rng.normal(0, 6, (60, *s.shape)), 0, 255).astype(np.uint8) for s in scenes]
    )
    camera = Camera({InputSpec.of(card.input): model.input}, "BGR")
    raw, scores = [], []
    for picture in near:
        camera.look(picture)
        model.run()
        raw.append(model.embedding.copy())
        scores.append(model.scores.copy())
    y = np.arange(len(scenes)).repeat(60)
    yield scenes, near, np.array(raw), np.array(scores), y, card
    model.close()


def sign_pictures(golden, card):
    """The golden inputs of the model, back as pictures: uint8 [n, 32, 32, 3]."""
    name = next(k for k in golden.files if golden[k].ndim >= 3)
    tensor = golden[name].reshape(-1, 32, 32, 3)
    return (tensor.astype(np.int16) + 128).astype(np.uint8)[..., ::-1].copy()


@pytest.mark.parametrize(
    ("feature", "isolation"),
    [*((feature, "none") for feature in EMBEDDING_FEATURES), ("nearest", "process")],
)
def test_a_picture_like_none_before_hands_over_to_the_rules(tmp_path, known, feature, isolation):
    _, near, raw, scores, y, card = known
    x = embedding.real(raw, card.embedding)
    fit = embedding.fit(feature, x, y, embedding.real(scores, card.scores).max(1))
    from edgeguard import _kernels

    spec = {"kind": card.scores.kind, "scale": card.scores.scale,
            "zero_point": card.scores.zero_point, "temperature": card.temperature}  # fmt: skip
    energy = _kernels.evidence_batch(scores, **spec)["energy"] / 65536
    made = embedding.kernel_fit(feature, card.embedding, fit)
    limit = float(_kernels.embedding_batch(raw, made, energy).max()) * 1.2 + 1.0
    more = CAMERA.format(isolation=isolation, feature=feature, above=round(limit, 3))
    path = camera_policy(tmp_path, {("compact", feature): fit}, more)
    with Guard.load(path) as guard:
        guard.arm()
        drive(guard, near[:10])
        calm = drive(guard, near[10:20])
        assert "OUT_OF_DISTRIBUTION" not in calm[-1].present
        noise = np.random.default_rng(1).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
        seen = drive(guard, noise, start=20)
        assert "OUT_OF_DISTRIBUTION" in seen[-1].causes and seen[-1].detectors == ("strange",)
        assert seen[-1].mode.name == "FALLBACK"
        told = np.array([d.command["target_speed"] for d in seen[20:]])
        assert (np.diff(told) <= 0).all() and told[-1] < told[0]  # down to the floor of the rule


def camera_policy(folder, fits, more):
    """The bench's guard with the camera's member in place of its own."""
    one = POLICY.replace("quorum = 3", "quorum = 1").replace("quorum = 2", "quorum = 1")
    means = one.index("[channel.target_speed.means]"), one.index("[controller]")
    policy = one[: means[0]] + one[means[1] :] + more
    policy += '\n[channel.target_speed.means]\n"Speed limit (20km/h)" = 5.5\n'
    path = calibrated(folder, fits, policy)
    text = path.read_text()
    path.write_text(text[: text.index("[member.one]")])
    return path


def drive(guard, pictures, start=0):
    """Show one picture every tenth of a second; decide ten times as often."""
    decisions = []
    for i, picture in enumerate(pictures, start):
        now = 10**9 + i * 10**8
        guard.observe("front", picture, now)
        guard.wait(2.0)
        decisions += [guard.decide({"speed": 20.0}, now + k * 10**7) for k in range(10)]
    return decisions


def test_arrays_that_were_altered_are_refused(tmp_path, known):
    _, _, raw, scores, y, card = known
    x = embedding.real(raw, card.embedding)
    fit = embedding.fit("nearest", x, y, embedding.real(scores, card.scores).max(1))
    more = CAMERA.format(isolation="none", feature="nearest", above=1.0)
    path = camera_policy(tmp_path, {("compact", "nearest"): fit}, more)
    config.load(path)
    data = bytearray((tmp_path / "calibration.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "calibration.npz").write_bytes(data)
    with pytest.raises(ConfigError, match=r"calibration\.npz: is not the file"):
        config.load(path)
    path = camera_policy(tmp_path, {("compact", "vim"): fit}, more)
    with pytest.raises(ConfigError, match="was not fitted"):
        config.load(path)
    short = {name: a[..., :40] if name != "points" else a for name, a in fit.items()}
    path = camera_policy(tmp_path, {("compact", "nearest"): short}, more)
    with pytest.raises(ConfigError, match="was not fitted to 96 values"):
        config.load(path)
