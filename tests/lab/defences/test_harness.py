# SPDX-License-Identifier: Apache-2.0
"""E18: defences that are known to be broken must be reported as broken, by the rule that says why;
what is honest must not be."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch", reason="the lab needs its extra")
pytest.importorskip("sklearn", reason="the digits are scikit-learn's")

from edgeguard.lab.attacks.threat import Threat  # noqa: E402
from edgeguard.lab.defences.distill import Probabilities  # noqa: E402
from edgeguard.lab.defences.harness import Defended, breaches, examine  # noqa: E402
from edgeguard.lab.defences.reconstruct import STAGES, Staged  # noqa: E402
from edgeguard.lab.defences.static import SteadyPGD  # noqa: E402
from tests.lab.defences.toy import Net, digits, trained  # noqa: E402

RADIUS = 0.15
PIXELS, Y = digits()
TRAIN, HELD = slice(0, 1200), 1200


@pytest.fixture(scope="module")
def plain() -> Net:
    return trained(PIXELS[TRAIN], torch.from_numpy(Y[TRAIN]))


def examined(name, measured, known, count=100):
    pixels, y = PIXELS[HELD : HELD + count], Y[HELD : HELD + count]
    right = measured.labels(pixels) == y
    assert right.mean() > 0.85
    return examine(Defended(name, measured, known, pixels[right], y[right]), RADIUS)


def test_a_plain_network_breaks_no_rule(plain):
    verdict = examined("plain", plain, plain)
    assert verdict.rules == ()
    assert verdict.success["measured"].value > 0.8


def test_an_adversarially_trained_network_breaks_no_rule(plain):
    attack = SteadyPGD(Threat("linf", RADIUS), 5, 0.5)
    y = torch.from_numpy(Y[TRAIN])
    hardened = trained(PIXELS[TRAIN], y, harden=attack, epochs=8)
    verdict = examined("hardened", hardened, hardened)
    assert verdict.rules == ()
    bare = examined("plain", plain, plain).success["measured"].value
    assert verdict.success["measured"].value < bare - 0.2


def test_distillation_is_broken_by_who_follows_the_logits(plain):
    temperature = 100.0
    taught = plain.scores(torch.from_numpy(PIXELS[TRAIN]).float() / 255).softmax(1)
    student = trained(PIXELS[TRAIN], taught, seed=1)
    student.factor = temperature  # trained on h = z / T, deployed as z
    verdict = examined("distillation", Probabilities(student), student)
    assert verdict.broken
    assert {"E5.gradient", "E6.adaptive", "E4.black-box"} <= set(verdict.rules)
    assert verdict.success["adaptive"].value > verdict.success["measured"].value + 0.5


@dataclass(frozen=True)
class Masked:
    """A stage and its model for an attacker who differentiates them as they stand: nothing comes
    back."""

    staged: Staged

    def scores(self, x):
        return self.staged.scores(x.detach()).detach() + 0 * x.flatten(1).sum(1, keepdim=True)

    def labels(self, pixels):
        return self.staged.labels(pixels)


@pytest.mark.parametrize("stage", ["depth4", "jpeg50"])
def test_a_stage_that_kills_the_gradient_is_broken(plain, stage):
    staged = Staged(plain, STAGES[stage])
    verdict = examined(stage, Masked(staged), staged, count=40)
    assert {"E5.gradient", "E4.black-box", "E6.adaptive"} <= set(verdict.rules)
    assert "gradient" in str(verdict)


def thermometer(x):
    """Levels passed, [N, 8, H, W]; no gradient comes back."""
    levels = (torch.arange(8) + 0.5) / 8
    return (x > levels[:, None, None]).float()


def soft_thermometer(x):
    """The same going forward, the gradient of a steep slope going back."""
    levels = (torch.arange(8) + 0.5) / 8
    soft = torch.sigmoid((x - levels[:, None, None]) * 20)
    return soft + (thermometer(x) - soft).detach()


def test_thermometer_coding_is_broken():
    """Buckman et al. 2018, broken by Athalye et al. 2018."""
    net = trained(PIXELS[TRAIN], torch.from_numpy(Y[TRAIN]), thermometer, channels=8)

    @dataclass
    class Shattered:
        inner: Net

        def scores(self, x):
            return self.inner.scores(x) + 0 * x.sum((1, 2, 3))[:, None]

        def labels(self, pixels):
            return self.inner.labels(pixels)

    verdict = examined("thermometer", Shattered(net), Net(net.net, soft_thermometer))
    assert {"E5.gradient", "E6.adaptive", "E4.unbounded"} <= set(verdict.rules)


GOOD = {"one-step": 0.4, "measured half": 0.3, "measured": 0.5, "measured twice": 0.8,
        "measured unbounded": 1.0, "noise": 0.02, "black-box": 0.3, "no gradient": 0.0,
        "adaptive": 0.5}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("one-step", 0.7, "E4.one-step"),
        ("measured twice", 0.3, "E4.radius"),
        ("measured unbounded", 0.6, "E4.unbounded"),
        ("noise", 0.4, "E4.noise"),
        ("black-box", 0.9, "E4.black-box"),
        ("no gradient", 0.2, "E5.gradient"),
        ("adaptive", 0.9, "E6.adaptive"),
    ],
)
def test_each_rule_alone(name, value, rule):
    assert breaches(GOOD) == []
    assert [b.rule for b in breaches({**GOOD, name: value})] == [rule]
