# SPDX-License-Identifier: Apache-2.0
"""Threats hold after rounding, whatever an attack hands over."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.lab.attacks.judge import InvalidAttack, judge
from edgeguard.lab.attacks.threat import Threat, on_grid, rounded, towards
from edgeguard.lab.attacks.victim import images, to_pixels
from tests.lab.attacks.linear import LinearVictim


def pictures(seed: int, n: int = 3) -> torch.Tensor:
    return images(np.random.default_rng(seed).integers(0, 256, (n, 3, 4, 5)).astype(np.uint8))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31), levels=st.integers(1, 40), norm=st.sampled_from(["linf", "l2"]),
    reach=st.floats(0.0, 2.0),
)  # fmt: skip
def test_rounded_images_are_8_bit_and_inside(
    seed: int, levels: int, norm: str, reach: float
) -> None:
    x = pictures(seed)
    threat = Threat(norm, levels / 255 if norm == "linf" else levels / 20)
    g = torch.Generator().manual_seed(seed)
    adv = threat.project(x + torch.randn(x.shape, generator=g) * reach, x)
    made = rounded(adv, x, threat)
    assert threat.allows(made - x).all()
    steps = made * 255
    assert (steps - steps.round()).abs().max() < 1e-3
    assert made.min() >= 0
    assert made.max() <= 1
    assert torch.equal(images(to_pixels(made)), on_grid(made))


def test_rounding_in_l2_gives_away_hardly_any_of_the_radius() -> None:
    """Where every pixel is rounded towards x, much of the norm is lost."""
    x = images(np.random.default_rng(0).integers(60, 196, (20, 3, 32, 32)).astype(np.uint8))
    threat = Threat("l2", 1.0)
    g = torch.Generator().manual_seed(0)
    adv = threat.project(x + torch.randn(x.shape, generator=g), x)
    sizes = threat.sizes(rounded(adv, x, threat) - x)
    assert (sizes <= 1.0 + 1e-6).all()
    assert (sizes > 0.99).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_towards_moves_no_pixel_further(seed: int) -> None:
    x = pictures(seed)
    g = torch.Generator().manual_seed(seed)
    adv = (x + torch.randn(x.shape, generator=g) * 0.1).clamp(0, 1)
    made = towards(adv, x)
    assert ((made - x).abs() <= (adv - x).abs() + 1e-5).all()
    assert ((adv - made).abs() < 1 / 255 + 1e-5).all()


def test_l0_counts_pixels_not_channels() -> None:
    delta = torch.zeros(1, 3, 4, 5)
    delta[0, :, 1, 1] = 0.5
    delta[0, 2, 3, 4] = -0.1
    assert float(Threat("l0", 0.1).sizes(delta)[0]) == pytest.approx(2 / 20)
    assert Threat("l0", 0.1).allows(delta).all()
    assert not Threat("l0", 0.05).allows(delta).any()


def test_names_are_those_of_figures() -> None:
    names = [Threat("linf", 8 / 255).name, Threat("l2", 3.0).name, Threat("l0", 0.1).name]
    assert [*names, Threat("l2").name] == ["linf.8", "l2.3", "l0.10", "l2.min"]


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="l1"):
        Threat("l1", 0.1)


def test_the_judge_refuses_what_left_its_threat() -> None:
    victim = LinearVictim.random(0)
    pixels = np.full((2, 3, 4, 4), 100, np.uint8)
    y = victim.labels(pixels)
    x = images(pixels)
    far = Threat("l0", 0.1)
    with pytest.raises(InvalidAttack, match="left the radius"):
        judge(victim, pixels, y, x + 0.2, far)
    with pytest.raises(InvalidAttack, match="NaN"):
        judge(victim, pixels, y, x * float("nan"), Threat("l2"))
    asked = Threat("l2", 3.0, knowledge="labels", queries=10)
    with pytest.raises(InvalidAttack, match="queries"):
        judge(victim, pixels, y, x, asked, queries=np.array([3, 11]))


def test_the_judge_reads_8_bit_pictures() -> None:
    """A change below half a grey level is no change."""
    victim = LinearVictim.random(0)
    pixels = np.full((2, 3, 4, 4), 100, np.uint8)
    y = victim.labels(pixels)
    result = judge(victim, pixels, y, images(pixels) + 0.001, Threat("l2"))
    assert not result.fooled.any()
    assert (result.pixels == pixels).all()
    assert result.success == 0
