# SPDX-License-Identifier: Apache-2.0
"""Whether the figures of a defence can be believed: static and adaptive attacks, compared.

A defence that hides its gradient looks strong to whoever follows that gradient. What gives it away
(Carlini et al. 2019, "On evaluating adversarial robustness"; Athalye et al. 2018):

=============  ==================================================================================
rule           what must hold
=============  ==================================================================================
E4.one-step    an iterated attack is at least as strong as one step
E4.radius      more radius never helps the defender
E4.unbounded   with the whole box to move in, (nearly) every picture is read wrongly
E4.noise       random noise of the same radius is far weaker than the attack
E4.black-box   who knows the gradient is at least as strong as who only sees scores or labels
E5.gradient    hardly any picture has a gradient that is zero or no number
E6.adaptive    who knows the defence does not do better than the attack that it was measured with
=============  ==================================================================================

A breach of E4 or E5 says that the measured robustness is none; one of E6, that the defence was
broken by an attacker who knows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from edgeguard.lab.attacks.fgsm import FGSM
from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.losses import climb, cross_entropy, margin
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import U8, Ints, Target, images
from edgeguard.lab.defences.detector import Share, share
from edgeguard.lab.defences.static import SteadyPGD

SLACK = 0.05  # of a share that two attacks may differ by without meaning anything
UNBOUNDED = 0.95
FAR = 0.5  # noise may reach this share of what the attack reaches
NO_GRADIENT = 0.05
Attack = Callable[[Target, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Defended:
    """What is examined. measured: what the attacks saw that the defence was measured with;
    known: what an attacker who knows it sees (BPDA, EOT, logits). Both answer as deployed."""

    name: str
    measured: Target
    known: Target
    pixels: U8
    y: Ints
    """Pictures [N, C, H, W] that the defended model reads rightly, and their labels [N]."""


@dataclass(frozen=True)
class Breach:
    """A rule, and the numbers that break it in words."""

    rule: str
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """Success of each attack, and what it breaks. No breach: the figures may be believed, which
    is not to say that the defence is strong."""

    name: str
    success: dict[str, Share]
    breaches: tuple[Breach, ...] = field(default=())

    @property
    def broken(self) -> bool:
        """Whether any rule is."""
        return bool(self.breaches)

    @property
    def rules(self) -> tuple[str, ...]:
        """The broken ones."""
        return tuple(b.rule for b in self.breaches)

    def __str__(self) -> str:
        if not self.breaches:
            return f"{self.name}: no rule broken"
        return f"{self.name}: " + "; ".join(f"{b.rule}: {b.sentence}" for b in self.breaches)


@dataclass(frozen=True)
class RandomSearch:
    """Squares of random place and sign, kept when they help (after Andriushchenko et al. 2020):
    an attack that asks for scores only. A stand-in of few queries, for the rule, not for figures.
    """

    threat: Threat
    queries: int = 150
    seed: int = 0

    def __call__(self, victim: Target, x: Tensor, y: Tensor) -> Tensor:
        """Images [N, C, H, W] inside the threat."""
        g = torch.Generator().manual_seed(self.seed)
        n, c, height, width = x.shape
        start = (torch.rand((n, c, 1, width), generator=g) < 0.5).float() * 2 - 1
        best = self.threat.project(x + start * self.threat.bound, x)
        value = self._value(victim, best, y)
        for at in range(self.queries):
            side = max(1, round(min(height, width) * 0.6 * (1 - at / self.queries)))
            top, left = (int(torch.randint(0, s - side + 1, (1,), generator=g))
                         for s in (height, width))  # fmt: skip
            tried = best.clone()
            signs = (torch.rand((n, c, 1, 1), generator=g) < 0.5).float() * 2 - 1
            patch = (slice(None), slice(None), slice(top, top + side), slice(left, left + side))
            tried[patch] = x[patch] + signs * self.threat.bound
            tried = self.threat.project(tried, x)
            found = self._value(victim, tried, y)
            better = found >= value
            best[better], value[better] = tried[better], found[better]
        return best

    @staticmethod
    def _value(victim: Target, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            return margin(victim.scores(x), y)


def noise(threat: Threat, seed: int = 0) -> Attack:
    """The corner of the ball that a coin picks."""

    def attack(victim: Target, x: Tensor, y: Tensor) -> Tensor:
        g = torch.Generator().manual_seed(seed)
        sign = (torch.rand(x.shape, generator=g) < 0.5).float() * 2 - 1
        return threat.project(x + sign * threat.bound, x)

    return attack


def examine(defended: Defended, radius: float, steps: int = 20, queries: int = 150) -> Verdict:
    """Attack it at `radius` (L-inf), half and twice of it, and without bound; apply the rules."""
    d = defended
    at = {"half": radius / 2, "": radius, "twice": radius * 2, "unbounded": 1.0}
    near = Threat("linf", radius)
    found = {
        "noise": _success(d, d.known, noise(near), near),
        "one-step": _success(d, d.measured, FGSM(near), near),
        "black-box": _success(d, d.known, RandomSearch(near, queries), near),
    }
    for name, size in at.items():
        threat = Threat("linf", size)
        attack = SteadyPGD(threat, steps, 2.5 / steps)
        found[f"measured {name}".strip()] = _success(d, d.measured, attack, threat)
    attack = SteadyPGD(near, steps, 2.5 / steps, margin)  # large logits drown cross entropy
    found["adaptive"] = _success(d, d.known, attack, near)
    found["no gradient"] = no_gradient(d.measured, d.pixels, d.y)
    return Verdict(d.name, found, tuple(breaches({k: s.value for k, s in found.items()})))


def _success(d: Defended, seen: Target, attack: Attack, threat: Threat) -> Share:
    adv = attack(seen, images(d.pixels), torch.from_numpy(d.y))
    result = judge(d.measured, d.pixels, d.y, adv, threat)
    return share(result.fooled)


def no_gradient(seen: Target, pixels: U8, y: Ints) -> Share:
    """Pictures whose gradient is zero everywhere, or no number somewhere."""
    gradient = climb(seen, images(pixels), torch.from_numpy(y), cross_entropy)[0].flatten(1)
    lost = (gradient == 0).all(1) | ~torch.isfinite(gradient).all(1)
    return share(lost.numpy())


def breaches(s: dict[str, float]) -> list[Breach]:
    """The rules on shares by name, as `examine` makes them."""
    white, rising = s["measured"], ("measured half", "measured", "measured twice")
    rules = [
        ("E4.one-step", s["one-step"] > white + SLACK,
         f"one step reaches {s['one-step']:.0%}, {white:.0%} when iterated"),
        ("E4.radius", any(s[a] > s[b] + SLACK for a, b in pairwise(rising)),
         "success by radius: " + ", ".join(f"{s[name]:.0%}" for name in rising)),
        ("E4.unbounded", s["measured unbounded"] < UNBOUNDED,
         f"the whole box lets the attack reach only {s['measured unbounded']:.0%}"),
        ("E4.noise", s["noise"] > max(FAR * white, SLACK),
         f"noise reaches {s['noise']:.0%}, the attack {white:.0%}"),
        ("E4.black-box", s["black-box"] > white + SLACK,
         f"scores alone reach {s['black-box']:.0%}, the gradient {white:.0%}"),
        ("E5.gradient", s["no gradient"] > NO_GRADIENT,
         f"{s['no gradient']:.0%} of the pictures have no gradient"),
        ("E6.adaptive", s["adaptive"] > white + SLACK,
         f"an attacker who knows the defence reaches {s['adaptive']:.0%}, not {white:.0%}"),
    ]  # fmt: skip
    return [Breach(rule, sentence) for rule, broken, sentence in rules if broken]
