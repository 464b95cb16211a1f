# SPDX-License-Identifier: Apache-2.0
"""Attacks by gradients against optima in closed form, and on the shipped int8 file."""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from edgeguard.card import Card
from edgeguard.lab.attacks.apgd import APGD
from edgeguard.lab.attacks.cw import CarliniL0, CarliniL2, CarliniLinf
from edgeguard.lab.attacks.deepfool import DeepFool
from edgeguard.lab.attacks.fgsm import FGSM
from edgeguard.lab.attacks.jsma import JSMA
from edgeguard.lab.attacks.judge import Result, judge
from edgeguard.lab.attacks.lbfgs import LBFGS
from edgeguard.lab.attacks.losses import cross_entropy, dlr, margin
from edgeguard.lab.attacks.pgd import PGD
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.universal import Universal
from edgeguard.lab.attacks.victim import FloatVictim, Victim, images
from edgeguard.zoo import models_dir
from tests.lab.attacks.linear import LinearVictim
from tests.lab.signs import signs

EIGHT = Threat("linf", 8 / 255)


def attacked(victim: Any, attack: Any, pixels: Any, y: Any, threat: Threat) -> Result:
    torch.manual_seed(0)
    adv = attack(victim, images(pixels), torch.from_numpy(y))
    return judge(victim, pixels, y, adv, threat)


def test_fgsm_is_optimal_on_a_linear_model() -> None:
    """No change within the radius lowers the margin by more than radius * |w|_1."""
    victim = LinearVictim.random(1)
    pixels, y = victim.near(1, 20)
    x, t = images(pixels), torch.from_numpy(y)
    adv = FGSM(EIGHT)(victim, x, t)
    gain = margin(victim.scores(adv), t) - margin(victim.scores(x), t)
    most = (victim.w[0] - victim.w[1]).abs().sum() * 8 / 255
    torch.testing.assert_close(gain, most.expand(20), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss", [cross_entropy, dlr])
@pytest.mark.parametrize("attack", [PGD, APGD])
def test_ascent_finds_every_image_that_can_be_fooled(attack: Any, loss: Any) -> None:
    """On two classes of a linear model FGSM decides which those are."""
    victim = LinearVictim.random(2)
    pixels, y = victim.near(2, 60)
    best = attacked(victim, FGSM(EIGHT), pixels, y, EIGHT).fooled
    found = attacked(victim, attack(EIGHT, loss=loss), pixels, y, EIGHT).fooled
    assert 5 < best.sum() < 60
    np.testing.assert_array_equal(found, best)


@pytest.mark.parametrize("attack", [PGD, APGD])
def test_l2_ascent_fools_what_is_near_enough(attack: Any) -> None:
    victim = LinearVictim.random(3, classes=4)
    pixels, y = victim.near(3, 60)
    threat = Threat("l2", 0.15)
    far = victim.distance(images(pixels), torch.from_numpy(y)).numpy()
    found = attacked(victim, attack(threat, loss=margin), pixels, y, threat).fooled
    assert 3 < (far < 0.14).sum() < 57
    assert found[far < 0.14].all()  # an 8-bit grid costs a little
    assert not found[far > 0.151].any()


@pytest.mark.parametrize(("attack", "slack"), [
    (DeepFool(), 1.15), (CarliniL2(steps=80, searches=7), 1.1), (LBFGS(steps=25, searches=8), 1.25),
])  # fmt: skip
def test_smallest_changes_are_those_of_the_closed_form(attack: Any, slack: float) -> None:
    """Distance to the nearest border; the slack is the grid's and the search's."""
    victim = LinearVictim.random(4, classes=4)
    pixels, y = victim.near(4, 40)
    far = victim.distance(images(pixels), torch.from_numpy(y)).numpy()
    some = far > 0.06  # below it a grey level is a large part of the way
    result = attacked(victim, attack, pixels[some], y[some], Threat("l2"))
    assert some.sum() >= 10
    assert result.fooled.all()
    ratio = result.size / far[some]
    assert ratio.min() > 0.999
    assert np.median(ratio) < slack


def test_cw_weighs_the_change_anew_after_a_success() -> None:
    """A run that starts where the last one ended is wrong at once; that says nothing of its c."""
    victim = LinearVictim.random(4, classes=4)
    pixels, y = victim.near(4, 40)
    far = victim.distance(images(pixels), torch.from_numpy(y)).numpy()
    some = far > 0.06
    attack = CarliniL2(steps=20, searches=12, first=0.03)
    result = attacked(victim, attack, pixels[some], y[some], Threat("l2"))
    assert result.fooled.all()
    assert np.median(result.size / far[some]) < 1.03


def test_cw_reaches_a_border_that_is_far() -> None:
    """Further than one run goes: the next one goes on where it ended."""
    near = LinearVictim.random(5)
    shift = 2.0 * float((near.w[0] - near.w[1]).norm())
    victim = LinearVictim(near.w, near.b + torch.tensor([shift, 0.0]))
    pixels, y = victim.near(5, 12)
    far = victim.distance(images(pixels), torch.from_numpy(y)).numpy()
    result = attacked(victim, CarliniL2(), pixels, y, Threat("l2"))
    assert far.min() > 1.7
    assert result.fooled.all()
    assert np.median(result.size / far) < 1.25


def test_cw_linf_is_near_the_closed_form() -> None:
    victim = LinearVictim.random(5)
    pixels, y = victim.near(5, 40)
    x, t = images(pixels), torch.from_numpy(y)
    w = (victim.w[0] - victim.w[1]).abs().sum()
    far = (-margin(victim.scores(x), t) / w).numpy()
    some = far > 3 / 255
    result = attacked(victim, CarliniLinf(), pixels[some], y[some], Threat("linf"))
    assert result.fooled.all()
    levels, least = result.size * 255, np.ceil(far[some] * 255 - 1e-3)
    assert (levels > least - 1.001).all()
    assert np.median(levels - least) <= 2


def fewest_pixels(victim: LinearVictim, x: torch.Tensor, label: int) -> int:
    """So many pixels must change on two classes: those that can give most, first."""
    w = victim.w[1 - label] - victim.w[label]
    room = torch.where(w > 0, 1 - x.flatten(), x.flatten())
    gain = (w.abs() * room).view(3, -1).sum(0).sort(descending=True).values.cumsum(0)
    need = -float(margin(victim.scores(x[None]), torch.tensor([label]))[0])
    return int((gain < need).sum()) + 1


@pytest.mark.parametrize(("attack", "more"), [(JSMA(share=1.0), 2), (CarliniL0(), 3)])
def test_few_pixels_are_changed(attack: Any, more: int) -> None:
    """JSMA moves pairs: one more than the fewest at most, and one for its greed."""
    victim = LinearVictim.random(6)
    pixels, y = victim.near(6, 20)
    result = attacked(victim, attack, pixels, y, Threat("l0"))
    fewest = [fewest_pixels(victim, x, int(k)) for x, k in zip(images(pixels), y, strict=True)]
    changed = np.rint(result.size * 16)
    assert result.fooled.all()
    assert (changed >= np.array(fewest)).all()
    assert np.median(changed - fewest) <= more


def test_jsma_keeps_its_budget() -> None:
    victim = LinearVictim.random(7)
    pixels = np.zeros((4, 3, 4, 4), np.uint8)
    y = victim.labels(pixels)
    result = attacked(victim, JSMA(share=0.13), pixels, y, Threat("l0", 0.13))
    assert (np.rint(result.size * 16) <= 2).all()


def test_one_change_for_all() -> None:
    """All images of one class of a linear model fall to the same change."""
    victim = LinearVictim.random(8)
    pixels, y = victim.near(8, 80)
    pixels, y = pixels[y == 0], y[y == 0]
    x, t = images(pixels), torch.from_numpy(y)
    delta = Universal(EIGHT, batch=8)(victim, x, t)
    assert delta.abs().max() <= 8 / 255 + 1e-6
    fooled = (victim.scores(x + delta).argmax(1) != t).float().mean()
    best = (victim.scores(FGSM(EIGHT)(victim, x, t)).argmax(1) != t).float().mean()
    assert fooled >= best - 0.05 > 0.3


def test_a_universal_change_of_few_images_reaches_its_radius() -> None:
    victim = LinearVictim.random(3)
    pixels, y = victim.near(3, 4)
    delta = Universal(EIGHT)(victim, images(pixels[y == 0]), torch.from_numpy(y[y == 0]))
    assert (delta.abs() * 255).round().eq(8).float().mean() > 0.9


@cache
def deployed() -> tuple[Victim, Any, Any]:
    """The shipped compact member, and signs that it reads rightly."""
    path = models_dir() / "compact.tflite"
    pixels, y = signs(40)
    victim = Victim(path, pixels, Card.beside(path))
    right = np.flatnonzero(victim.labels(pixels) == y)[:8]
    return victim, pixels[right], y[right]


def test_more_effort_never_helps_the_defender() -> None:
    """E4 on a deployed file: noise, one step, many steps, an unbounded radius."""
    victim, pixels, y = deployed()
    one = attacked(victim, FGSM(EIGHT), pixels, y, EIGHT).success
    many = attacked(victim, PGD(EIGHT, steps=20, restarts=1), pixels, y, EIGHT).success
    wide = Threat("linf", 64 / 255)
    rest = attacked(victim, PGD(wide, steps=20, restarts=1), pixels, y, wide).success
    assert one <= many <= rest == 1.0


def test_smallest_changes_are_judged_on_the_file() -> None:
    """The known trap: made on the float twin, DeepFool's images do not fool the int8 file."""
    path = models_dir() / "plain.onnx"
    pixels, y = signs(40)
    victim = Victim(path, pixels[:10], Card.beside(path))
    right = np.flatnonzero(victim.labels(pixels) == y)[:6]
    pixels, y = pixels[right], y[right]
    twin = FloatVictim(path.with_name("plain.float.onnx"))
    x, t = images(pixels), torch.from_numpy(y)
    adv = DeepFool(classes=4)(twin, x, t)
    assert (twin.scores(adv).argmax(1) != t).all()
    made_on_float = judge(victim, pixels, y, adv, Threat("l2")).success
    assert attacked(victim, DeepFool(classes=4), pixels, y, Threat("l2")).success == 1.0
    assert made_on_float <= 0.9


def test_a_float_twin_is_fed_as_the_card_of_its_file_says() -> None:
    path = models_dir() / "plain.onnx"
    card, twin = Card.beside(path), path.with_name("plain.float.onnx")
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    other = attrs.evolve(card.input, mean=mean, std=std, colour="BGR")
    x = images(signs(4)[0])
    fed = (x.flip(1) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    made = FloatVictim(twin, attrs.evolve(card, input=other)).scores(x)
    torch.testing.assert_close(made, FloatVictim(twin).scores(fed))
    torch.testing.assert_close(FloatVictim(twin, card).scores(x), FloatVictim(twin).scores(x))


def test_apgd_towards_more_classes_than_there_are() -> None:
    """The plan asks for four; a victim of two classes has one that is wrong."""
    victim = LinearVictim.random(2)
    pixels, y = victim.near(2, 40)
    best = attacked(victim, FGSM(EIGHT), pixels, y, EIGHT).fooled
    found = attacked(victim, APGD(EIGHT, steps=10, restarts=1, targets=4), pixels, y, EIGHT).fooled
    assert 5 < best.sum() < 40
    np.testing.assert_array_equal(found, best)


def test_apgd_keeps_the_best_of_all_starts() -> None:
    """Where nothing is fooled, a start towards an unlikely class must not replace a better one."""
    victim = LinearVictim.random(3, classes=8)
    pixels, y = victim.near(3, 12)
    x, labels = images(pixels), torch.from_numpy(y)

    def reached(targets: int) -> torch.Tensor:
        attack = APGD(Threat("linf", 1 / 255), 10, restarts=1, loss=margin, targets=targets)
        return margin(victim.scores(attack(victim, x, labels)), labels)

    once = reached(0)
    assert (once < 0).any()
    assert (reached(5) >= once - 1e-6)[once < 0].all()
