# SPDX-License-Identifier: Apache-2.0
"""The card of the history: after what share of its queries is a black-box attack flagged, and how
often is a clean drive.

Limits are the largest numbers on the calibration tracks, driven one after the other in a drawn
order. Clean drives to report on: the reserved tracks, and all training tracks for what does not
depend on the member, which has learned them. Attackers ask one question after the other, picture
by picture, each of a memory that the end of the calibration drive has filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch

from edgeguard.evidence.history import History
from edgeguard.figures import Figure, at_most
from edgeguard.lab.attacks.hopskipjump import HopSkipJump
from edgeguard.lab.attacks.square import Square
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import U8, Counted, Ints, images
from edgeguard.lab.defences.bench import Bench, Frames
from edgeguard.lab.defences.card import Card
from edgeguard.lab.defences.detector import Share
from edgeguard.lab.defences.history import Fingerprints, secret
from edgeguard.lab.defences.static import RADIUS
from edgeguard.lab.zoo.ood import read_reserved

RATE_HZ = 10
CALIBRATION = 1  # seed of its drive
SHARE = 0.05  # of the queries that the attack needs
NAMES: tuple[str, ...] = ("echoes", "flips", "matches")
LOADED = NAMES[:2]
"""`matches` stays in the lab: in a car it flags nothing."""
OF_PICTURES = ("echoes", "matches")
"""Whatever the member says."""
QUERIES = 5000
RADII = {"hopskipjump.3": 3.0, "hopskipjump.0.75": 0.75}
"""What HopSkipJump has to reach in L2. At 3.0 a picture of another sign is often near enough by
itself: then there is no search to notice."""
Numbers = dict[str, Ints]


@dataclass
class Transcript:
    """Every question [Q, C, H, W] that an attacker asked, and the label he got [Q]."""

    pixels: list[U8] = field(default_factory=list)
    labels: list[Ints] = field(default_factory=list)

    def noting(self, answers: Callable[[U8], Any]) -> Callable[[U8], Any]:
        """The black box, which keeps what it is asked."""

        def ask(pixels: U8) -> Any:
            said = answers(pixels)
            self.pixels.append(pixels.copy())
            self.labels.append(said if said.ndim == 1 else said.argmax(1))
            return said

        return ask


def walk(pixels: U8, labels: Ints) -> Iterator[tuple[int, int, int]]:
    """NAMES of a stream of pictures [N, C, H, W], one after the other."""
    history, prints = History(), Fingerprints(secret(0))
    for picture, label in zip(pixels.transpose(0, 2, 3, 1), labels, strict=True):
        own = np.ascontiguousarray(picture)
        yield (*history.see(own, int(label)), prints.see(own))


def numbers(pixels: U8, labels: Ints) -> Numbers:
    """All of them, each [N]."""
    found = np.array(list(walk(pixels, labels)), np.int64)
    return dict(zip(NAMES, found.T, strict=True))


def crossed(
    pixels: U8, labels: Ints, limits: dict[str, int], before: tuple[U8, Ints] | None = None
) -> dict[str, int]:
    """The question, from 1, at which each number is first above its limit; one more than there are
    where it never is. before: pictures and labels that the memory holds already."""
    first, old = dict.fromkeys(NAMES, len(labels) + 1), 0
    if before is not None:
        old = len(before[1])
        pixels, labels = np.concatenate([before[0], pixels]), np.concatenate([before[1], labels])
    for at, found in enumerate(islice(walk(pixels, labels), old, None), 1):
        for name, number in zip(NAMES, found, strict=True):
            if number > limits[name]:
                first[name] = min(first[name], at)
        if max(first.values()) <= at:
            break
    return first


def drive(frames: Frames, seed: int) -> Frames:
    """The tracks one after the other, in a drawn order; each keeps its own."""
    keys = np.random.default_rng(seed).permutation(np.unique(frames.track))
    return frames.where(np.concatenate([np.flatnonzero(frames.track == key) for key in keys]))


def driven(bench: Bench) -> tuple[U8, Ints]:
    """As much of the calibration drive's end as a memory holds, and what the member says of it."""
    clean = drive(bench.held, CALIBRATION)
    clean = clean.where(np.arange(len(clean))[-History().memory :])
    return clean.pixels, bench.victim.labels(clean.pixels)


def alarms(above: np.ndarray) -> int:
    """How often it begins."""
    return int(above[:1].sum() + (above[1:] & ~above[:-1]).sum())


def measure(bench: Bench) -> Card:
    """The card; `static` and `adaptive` are shares of attacks that ended unflagged."""
    ask = bench.victim.labels
    calibration = drive(bench.held, CALIBRATION)
    clean = numbers(calibration.pixels, ask(calibration.pixels))
    limits = {name: int(clean[name].max()) for name in NAMES}
    notes: dict[str, Any] = {f"limit.{name}": float(limit) for name, limit in limits.items()}
    found, coverage = _false_alarms(bench, limits)
    notes |= found
    static, flagged = attacks(bench, limits, blind=False)
    notes |= flagged
    adaptive, flagged = attacks(bench, limits, blind=True)
    notes |= {f"blinded.{name}": value for name, value in flagged.items()
              if isinstance(value, float)}  # fmt: skip
    picture = bench.chosen.pixels[0].transpose(1, 2, 0).copy()
    full, prints = History(), Fingerprints(secret(0))
    for _ in range(full.memory):
        full.see(picture, 0)
    whole = bench.clean()
    return Card(
        name="history", kind="history", member=bench.member,
        device_us=bench.per_picture_us(lambda p: full.see(p[0].transpose(1, 2, 0), 0)),
        training=1.0, clean_before=whole, clean_after=whole, coverage=coverage,
        static=static, adaptive=adaptive,
        notes=notes | {"matches.us": bench.per_picture_us(
            lambda p: prints.see(p[0].transpose(1, 2, 0)))},
        loads="guard.toml: detectors of kind history (echoes, flips)",
    )  # fmt: skip


def _false_alarms(bench: Bench, limits: dict[str, int]) -> tuple[dict[str, float], Share]:
    """Per hour of clean driving on tracks that no limit was set on; frames that are accepted."""
    x, keys = read_reserved(bench.root)
    reserved = Frames(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), keys // 1000, keys)
    drives = {"reserved": (drive(reserved, 2), NAMES)}
    if not bench.quick:
        drives["training"] = drive(bench.training, 3), OF_PICTURES
    found: dict[str, float] = {}
    accepted = Share(0, 0)
    for where, (frames, names) in drives.items():
        made = numbers(frames.pixels, bench.victim.labels(frames.pixels))
        above = {name: made[name] > limits[name] for name in names}
        hours = len(frames) / RATE_HZ / 3600
        found[f"{where}.hours"] = hours
        found |= {f"{where}.false_alarms.{n}": alarms(over) / hours for n, over in above.items()}
        if names == NAMES:
            flagged = np.any([above[name] for name in LOADED], axis=0)
            accepted = Share(int((~flagged).sum()), len(flagged))
    return found, accepted


def attacks(
    bench: Bench, limits: dict[str, int], blind: bool
) -> tuple[dict[str, Share], dict[str, Any]]:
    """Per attack: how many succeeded before any number that the runtime has was above its limit;
    after which share of the questions it was flagged, where one that does not succeed needs at
    least those it asked."""
    own, before = bench.attackable(bench.right), driven(bench)
    own = own.where(np.arange(min(len(own), 6 if bench.quick else 50)))
    unseen: dict[str, Share] = {}
    notes: dict[str, Any] = {}
    for name in ("square", *RADII):
        shares: dict[str, list[float]] = {n: [] for n in (*NAMES, "any")}
        free, needed, wins = 0, [], 0
        for i in range(len(own)):
            asked, won = _transcript(bench, own.where(np.array([i])), name, blind)
            bench.advance(1)
            labels = np.concatenate(asked.labels)
            at = crossed(np.concatenate(asked.pixels), labels, limits, before)
            at["any"] = min(at[n] for n in LOADED)
            needed.append(len(labels))
            wins += won
            free += won and at["any"] > len(labels)
            for n, first in at.items():
                shares[n].append(min(first / len(labels), 1.0))
        unseen[name] = Share(free, len(own))
        notes[f"{name}.succeeds"] = Share(wins, len(own))
        notes[f"{name}.queries"] = float(np.median(needed))
        for n, values in shares.items():
            notes[f"{name}.flagged_after.{n}"] = float(np.median(values))
        if not blind and name in RADII:
            notes[f"bar.{name}"] = _bar(bench, name, shares["any"])
    return unseen, notes


def _bar(bench: Bench, name: str, shares: list[float]) -> Figure:
    """Each label-only attack is flagged within this share of the queries that it needs."""
    at = f"defend.{bench.member}.history.{name}.flagged_after.worst"
    return at_most(at, max(shares), SHARE, n=len(shares))


def _transcript(bench: Bench, one: Frames, name: str, blind: bool) -> tuple[Transcript, bool]:
    """One attack on one picture, and whether the deployed file ends up wrong."""
    asked = Transcript()
    answers = bench.victim.answers if name == "square" else bench.victim.labels
    box = asked.noting(answers)
    counted = Counted(blinded(box) if blind else box, 1)
    most = 1500 if bench.quick else QUERIES
    x, y = images(one.pixels), torch.from_numpy(one.y)
    if name == "square":
        threat = Threat("linf", RADIUS, knowledge="scores", queries=most)
        adv, _ = Square(threat)(counted, x, y)
    else:
        threat = Threat("l2", RADII[name], knowledge="labels", queries=most)
        others = bench.test.where(np.linspace(0, len(bench.test) - 1, 50).astype(int))
        adv, _ = HopSkipJump(threat)(counted, x, y, images(others.pixels))
    pixels = np.rint(adv.numpy() * 255).astype(np.uint8)
    near = bool(threat.allows(adv - x).all())
    return asked, near and bool(bench.victim.labels(pixels)[0] != one.y[0])


def blinded(ask: Callable[[U8], Any], seed: int = 5) -> Callable[[U8], Any]:
    """Query blinding (Chen, Carlini, Wagner 2019): each question in another light, moved by up to a
    pixel, so that no two of them look alike. The answer is taken for that of the picture itself."""
    g = np.random.default_rng(seed)

    def other(pixels: U8) -> Any:
        gain = g.uniform(0.7, 1.3, (len(pixels), 1, 1, 1))
        offset = g.uniform(-20, 20, (len(pixels), 1, 1, 1))
        lit = np.clip(pixels * gain + offset, 0, 255).astype(np.uint8)
        moved = [np.roll(p, tuple(g.integers(-1, 2, 2)), (1, 2)) for p in lit]
        return ask(np.stack(moved))

    return other
