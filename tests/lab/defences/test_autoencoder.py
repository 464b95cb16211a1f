# SPDX-License-Identifier: Apache-2.0
"""A denoiser and a member become one int8 file that the lab attacks and the runtime loads."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs its extra")
pytest.importorskip("onnxruntime", reason="the plain member runs on it")

from edgeguard.card import Card  # noqa: E402
from edgeguard.lab.attacks.victim import Victim, images  # noqa: E402
from edgeguard.lab.defences import autoencoder  # noqa: E402
from edgeguard.lab.zoo import data  # noqa: E402
from edgeguard.zoo import models_dir  # noqa: E402

TWIN = models_dir() / "plain.float.onnx"


def test_one_that_changes_nothing_leaves_the_member_as_it_is(tmp_path, pictures):
    pixels, y = pictures
    file = tmp_path / "pair.onnx"
    autoencoder.write(autoencoder.Denoiser(), TWIN, pixels.transpose(0, 2, 3, 1), file)
    card = Card.load(models_dir() / "plain.card.json")
    pair = Victim(file, pixels, attrs.evolve(card, file=file.name))  # checks its surrogate
    assert np.array_equal(pair.labels(pixels), y)
    alone = Victim(card.model_path, pixels, card)
    assert np.abs(pair.answers(pixels) - alone.answers(pixels)).max() < 2.0
    leaf = images(pixels).requires_grad_()
    (gradient,) = torch.autograd.grad(pair.scores(leaf).square().sum(), leaf)
    assert gradient.flatten(1).any(1).all()


def test_it_learns_to_take_a_disturbance_away():
    """Off pictures of one colour each, so that a second of training shows it; without a member."""
    rng = np.random.default_rng(0)
    flat = rng.integers(40, 216, (256, 1, 1, 3)).astype(np.uint8).repeat(16, 1).repeat(16, 2)
    many = data.Images(flat, np.zeros(256, np.int64), np.full(256, -1))
    how = autoencoder.Recipe(epochs=12, every=1, batch=32)
    net, seconds = autoencoder.fit(how, lambda x: 0 * x.flatten(1)[:, : data.CLASSES], many)
    clean = images(flat[:8].transpose(0, 3, 1, 2))
    noisy = clean + torch.from_numpy(rng.uniform(-1, 1, clean.shape)).float() * autoencoder.REACH
    with torch.no_grad():
        after, before = (net(noisy) - clean).square().mean(), (noisy - clean).square().mean()
    assert after < 0.5 * before
    assert seconds > 0
