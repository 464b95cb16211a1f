# SPDX-License-Identifier: Apache-2.0
"""Cards of detectors: squeezing, embedding distances, boxes, and certainty as what they must beat.

Every detector gets the limit that 5 % of clean calibration frames lie above, so that all are
compared at the same coverage. Among them is one that costs nothing: the member's own certainty.
Whoever does not beat it does not lower the hazard at equal coverage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from edgeguard.figures import Figure, at_least
from edgeguard.lab.attacks.cw import CarliniL2
from edgeguard.lab.attacks.losses import margin as climb_margin
from edgeguard.lab.attacks.pgd import PGD
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import U8, Floats, Ints, Victim
from edgeguard.lab.defences.adaptive import RULES, attack_unseen
from edgeguard.lab.defences.bench import Bench, Frames
from edgeguard.lab.defences.card import Card
from edgeguard.lab.defences.detector import Detector, Look, Share, limit_at, share
from edgeguard.lab.defences.embedded import Boxes, Distance, shipped_fits
from edgeguard.lab.defences.learned import Learned, attacked_frames
from edgeguard.lab.defences.squeeze import Squeezing
from edgeguard.lab.defences.static import RADIUS
from edgeguard.lab.defences.targeted import attack_classes
from edgeguard.lab.defences.together import Together
from edgeguard.lab.zoo.runners import softmax
from edgeguard.zoo import models_dir

STATIC_DETECTION = 0.85
RADII = {"linf.4": 4 / 255, "linf.8": RADIUS}


class Certainty:
    """1 - the largest probability, at the card's temperature: the evidence there is anyway."""

    name = "certainty"

    def __init__(self, model: Victim, temperature: float) -> None:
        self.model, self.temperature = model, temperature
        self.limit = float("inf")

    def look(self, x: Tensor, y: Tensor) -> Look:
        """A sure wrong answer is both wrong and unseen: the guide is the margin."""
        scores = self.model.scores(x)
        number = 1 - (scores / self.temperature).softmax(1).amax(1)
        return Look(scores, number, climb_margin(scores, y))

    def measured(self, pixels: U8) -> Floats:
        """[N]."""
        scores = self.model.answers(pixels) / np.float32(self.temperature)
        return np.asarray(1 - softmax(scores).max(1), np.float32)

    def labels(self, pixels: U8) -> Ints:
        """What the model says, [N]."""
        return self.model.labels(pixels)


def detectors(bench: Bench) -> dict[str, Callable[[], Detector]]:
    """By name, made when asked for."""
    made: dict[str, Callable[[], Detector]] = {
        "certainty": lambda: Certainty(bench.victim, bench.card.temperature),
        "squeezing": lambda: Squeezing(bench.victim),
        "boxes": lambda: _boxes(bench),
        "learned": lambda: _learned(bench),
    }
    fits = shipped_fits(models_dir() / "ood.toml", bench.member)
    for feature, fit in fits.items():
        made[feature] = lambda f=feature, a=fit: Distance(bench.embedded, f, a)  # type: ignore[misc]
    return made


def _boxes(bench: Bench) -> Boxes:
    """Every third frame, since neighbours are alike; fewer when it must be quick."""
    rows = np.arange(0, len(bench.training), 12 if bench.quick else 3)
    own = bench.training.where(rows)
    return Boxes.fitted(bench.embedded, own.pixels, own.y)


def _learned(bench: Bench) -> Learned:
    """Trained on frames of training tracks alone; the attacks on them are its cost."""
    model, begun = bench.embedded, time.process_time()
    rows = np.arange(0, len(bench.training), 120 if bench.quick else 24)
    own = bench.training.where(rows)
    own = own.where(bench.victim.labels(own.pixels) == own.y)
    attacked = attacked_frames(model, own.pixels, own.y, bench.quick)
    clean = bench.training.where(np.arange(0, len(bench.training), 12 if bench.quick else 3))
    made = Learned.fitted(model, clean.pixels, attacked)
    made.seconds = time.process_time() - begun
    return made


def measure(bench: Bench, detector: Detector) -> Card:
    """Set the limit, then the card."""
    set_limit(detector, bench.calibration)
    accepted = detector.measured(bench.chosen.pixels) <= detector.limit
    own, was = bench.attackable(bench.right & accepted), accepted[bench.right]
    found = static(bench, detector, was)
    beaten, notes = adaptive(bench, detector, own, {k: w[was] for k, w in found.won.items()})
    cost = bench.per_picture_us(detector.measured) - bench.per_picture_us(bench.victim.labels)
    return Card(
        name=detector.name, kind="detector", member=bench.member,
        device_us=max(cost, 0.0), training=bench.training_multiple(trained_s(detector)),
        clean_before=bench.clean(),
        clean_after=share(bench.right[accepted]),
        coverage=share(accepted),
        static=found.success, adaptive=beaten,
        notes={"limit": detector.limit, **found.notes(bench, detector.name), **notes},
        loads=" and ".join(LOADS.get(n, LOADS["distance"]) for n in detector.name.split("+")),
    )  # fmt: skip


def set_limit(detector: Detector, clean: Frames) -> None:
    """On clean calibration frames. What has units gets these from every second track and the limit
    from the others: numbers in units that were fitted to them are smaller than those of new ones.
    """
    squeezing = [part for part in parts_of(detector) if isinstance(part, Squeezing)]
    if squeezing or isinstance(detector, Together):
        own, clean = clean.halves()
        for part in squeezing:
            part.fit(own.pixels)
        if isinstance(detector, Together):
            detector.fit(own.pixels)
    detector.limit = limit_at(detector.measured(clean.pixels))


def parts_of(detector: Detector) -> Sequence[Detector]:
    """Those side by side, or the one."""
    return detector.parts if isinstance(detector, Together) else (detector,)


def trained_s(detector: Detector) -> float:
    """CPU seconds that its trained parts cost, the attacks on training frames among them."""
    return sum(part.seconds for part in parts_of(detector) if isinstance(part, Learned))


LOADS = {
    "certainty": "guard.toml: certainty of an operation",
    "distance": "guard.toml: detector of kind embedding, arrays in the calibration file",
    "squeezing": "the number as a signal, its limit as an association of guard.toml",
    "learned": "guard.toml: detector of kind embedding, arrays in FOLDER/MEMBER.learned.npz",
    "boxes": "guard.toml: detector of kind embedding; `edgeguard calibrate` fits it anew",
}


@dataclass(frozen=True)
class Static:
    """Success by attack, and how many of the wrong pictures were detected (all Xu et al. count)."""

    success: dict[str, Share]
    detected: dict[str, Share]
    won: dict[str, np.ndarray]
    """Wrong and not flagged, whether it was accepted before or not [N]."""

    def notes(self, bench: Bench, name: str) -> dict[str, Share | Figure]:
        """Detection by attack, and the mean of those that fooled anything: each weighs the same. A
        bar on no picture does not hold."""
        some = [s for s in self.detected.values() if s.n]
        mixed = float(np.mean([s.value for s in some])) if some else float("nan")
        n = min((s.n for s in some), default=0)
        at = f"defend.{bench.member}.{name}.detected.mixed"
        figure = Figure(at, mixed, "1", n)
        if name == "squeezing":
            figure = at_least(at, mixed, STATIC_DETECTION, n=n)
        return {**{f"detected.{k}": s for k, s in self.detected.items()}, "detected": figure}


def static(bench: Bench, detector: Detector, was: np.ndarray) -> Static:
    """On the pictures of attackers who do not know it; was: accepted before the attack [N]."""
    success, detected, won = {}, {}, {}
    for name, made in bench.attacked.items():
        flagged = detector.measured(made.pixels) > detector.limit
        fooled = made.fooled & was
        success[name] = share((made.fooled & ~flagged)[was])
        detected[name] = share(flagged[fooled])
        won[name] = made.fooled & ~flagged
    return Static(success, detected, won)


def adaptive(
    bench: Bench, detector: Detector, own: Frames, static_won: dict[str, np.ndarray]
) -> tuple[dict[str, Share], dict[str, float]]:
    """Worst per picture (E7) of all rules, of what fell within a smaller radius, and of the static
    attacks where they were allowed as much; C&W without a radius, with its norm."""
    found: dict[str, Share] = {}
    won = np.zeros(len(own), bool)
    for name, radius in RADII.items():
        if radius == RADIUS:
            won |= static_won["fgsm"] | static_won["pgd"]
        within(bench, detector, own, Threat("linf", radius), won)
        found[name] = share(won)
    few = own.where(np.arange(0, len(own), 4))
    cw = CarliniL2(100, 2 if bench.quick else 4, rate=0.03, first=100.0)
    won, made = attack_unseen(detector, cw, Threat("l2"), few.pixels, few.y)
    bench.advance(len(few))
    apart = (made.astype(np.float64) - few.pixels).reshape(len(few), -1) / 255
    found["cw"] = share(won)
    norm = float(np.median(np.linalg.norm(apart[won], axis=1))) if won.any() else float("nan")
    return found, {"adaptive.cw.l2_median": norm}


def within(bench: Bench, detector: Detector, own: Frames, threat: Threat, won: np.ndarray) -> None:
    """Add to won [N] what falls within a radius: each rule is for what withstood those before it,
    and towards single classes goes what withstood all of them."""
    steps, restarts = (20, 1) if bench.quick else (40, 3)
    attack = PGD(threat, steps, 2.5 / steps, restarts, climb_margin)
    for rule in RULES:
        left = np.flatnonzero(~won)
        won[left], _ = attack_unseen(detector, attack, threat, own.pixels[left], own.y[left], rule)
        bench.advance(len(left))
    left = np.flatnonzero(~won)
    rest, count = own.where(left), 3 if bench.quick else 5
    won[left], _ = attack_classes(detector, bench.victim, threat, rest.pixels, rest.y, count)
    bench.advance(len(left))
