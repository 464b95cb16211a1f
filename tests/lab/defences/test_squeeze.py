# SPDX-License-Identifier: Apache-2.0
"""Squeezing in torch gives the runtime's integers, and gradients."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs its extra")

from edgeguard import _kernels  # noqa: E402
from edgeguard.lab.attacks.victim import images, to_pixels  # noqa: E402
from edgeguard.lab.defences.squeeze import SQUEEZERS, depth  # noqa: E402


@pytest.mark.parametrize("name", SQUEEZERS)
@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 1, 5, 7), (3, 3, 2, 3)])
def test_torch_and_kernel_give_the_same_integers(name, shape):
    pixels = np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)
    squeezer = SQUEEZERS[name]
    made = squeezer.torch(images(pixels))
    assert np.array_equal(to_pixels(made), squeezer(pixels))
    assert torch.equal(images(to_pixels(made)), made)


@pytest.mark.parametrize("bits", range(1, 8))
def test_every_grey_level(bits):
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    want = np.empty((16, 16, 1), np.uint8)
    _kernels.squeeze_depth(pixels[0].transpose(1, 2, 0), want, bits)
    assert np.array_equal(to_pixels(depth(images(pixels), bits))[0, 0], want[..., 0])


@pytest.mark.parametrize("name", SQUEEZERS)
def test_the_gradient_is_not_lost(name):
    x = torch.rand((1, 1, 6, 6), generator=torch.Generator().manual_seed(3)).requires_grad_()
    SQUEEZERS[name].torch(x).sum().backward()
    assert x.grad.sum().item() == pytest.approx(36, rel=1e-5)  # each output stems from one pixel
