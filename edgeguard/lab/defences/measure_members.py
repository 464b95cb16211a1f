# SPDX-License-Identifier: Apache-2.0
"""Cards of members that are made anew: behind an autoencoder, or trained against attacks.

What is made is one int8 file, which is attacked as the bare member is. Static pictures were made on
the bare member: for the new one they are a transfer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import attrs
import numpy as np

from edgeguard.card import Card as BareCard
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import Target, Victim
from edgeguard.lab.defences import autoencoder, harden, once
from edgeguard.lab.defences.bench import Bench
from edgeguard.lab.defences.card import Card
from edgeguard.lab.defences.detector import Share, share
from edgeguard.lab.defences.measure_detectors import RADII
from edgeguard.lab.defences.measure_stages import adaptive, carlini, shares, static
from edgeguard.lab.defences.static import SteadyPGD
from edgeguard.lab.zoo.onnx_torch import OnnxNet
from edgeguard.zoo import models_dir

KINDS = {"autoencoder": "stage", **{f"adversarial.{way}": "training" for way in harden.WAYS}}
Recipe = autoencoder.Recipe | harden.Recipe


def recipe_of(bench: Bench, name: str) -> Recipe:
    """How a member is made."""
    how: Recipe = autoencoder.Recipe()
    if name != "autoencoder":
        how = harden.Recipe(name.removeprefix("adversarial."))
    return replace(how, epochs=1, every=12) if bench.quick else how


def _make(bench: Bench, how: Recipe, twin: Path, file: Path) -> float:
    """Train and write; the CPU seconds."""
    training, ranges = bench.split[0], once.calibrating(bench)
    if isinstance(how, autoencoder.Recipe):
        denoiser, seconds = autoencoder.fit(how, OnnxNet(twin).scores, training)
        autoencoder.write(denoiser, twin, ranges, file)
        return seconds
    other = OnnxNet(_neighbour(bench)).scores if how.way == "diverse" else None
    net, seconds = harden.fit(how, twin, training, other)
    harden.write(net, ranges, file)
    return seconds


def _neighbour(bench: Bench) -> Path:
    """The float twin of the other ONNX member of the shipped vote."""
    return models_dir() / f"{'plain' if bench.member == 'robust' else 'robust'}.float.onnx"


def transfer(bench: Bench, victims: Mapping[str, Target], neighbour: Target) -> dict[str, Share]:
    """How many pictures that fool the neighbour within 4/255 fool each of these as well; of those
    that all of them read rightly before."""
    rows = np.ones(len(bench.chosen), bool)
    for reader in (neighbour, *victims.values()):
        rows &= reader.labels(bench.chosen.pixels) == bench.chosen.y
    if not rows.any():
        return {f"transfer.{name}": Share(0, 0) for name in victims}
    own, threat = bench.chosen.where(rows), Threat("linf", RADII["linf.4"])
    made = bench.attack(neighbour, own, SteadyPGD(threat, 20, 0.125, margin), threat)
    fooled = own.y[made.fooled]
    return {
        f"transfer.{name}": share(victim.labels(made.pixels)[made.fooled] != fooled)
        for name, victim in victims.items()
    }


def made(bench: Bench, name: str, folder: Path) -> tuple[Path, float]:
    """The int8 file in `folder`, trained where it is not there yet, and the CPU seconds of that.

    Raises EdgeguardError for a member without a float twin.
    """
    twin = bench.twin(name)
    how = recipe_of(bench, name)
    sources = [Path(autoencoder.__file__), Path(harden.__file__), _neighbour(bench)]
    file = folder / f"{bench.member}.{name}-{once.key_of(bench, sources, twin, how)}.onnx"

    def write(to: Path) -> None:
        seconds = _make(bench, how, twin, to)
        _about(to).write_text(json.dumps({"cpu_s": seconds}) + "\n")

    once.make(file, write)
    return file, float(json.loads(_about(file).read_text())["cpu_s"])


def _about(file: Path) -> Path:
    return file.with_suffix(".training.json")


def measure(bench: Bench, name: str, folder: Path) -> Card:
    """Train if need be, then attack the file."""
    file, seconds = made(bench, name, folder)
    victim = Victim(file, bench.agreed, attrs.evolve(bench.card, file=file.name))
    card = BareCard.load(_neighbour(bench).with_suffix("").with_suffix(".card.json"))
    neighbour = Victim(card.model_path, bench.agreed, card)
    labels = victim.labels(bench.chosen.pixels)
    after = labels == bench.chosen.y
    was, fell = after[bench.right], static(bench, victim)
    success = adaptive(bench, victim, after, fell, {"linf.2": 2 / 255, **RADII})
    cw, norm = carlini(bench, victim, after)
    return Card(
        name=name, kind=KINDS[name], member=bench.member, device_us=bench.dearer_us(victim.labels),
        training=bench.training_multiple(seconds), clean_before=bench.clean(),
        clean_after=share(after),
        coverage=Share(len(after), len(after)), static=shares(fell, was),
        adaptive={**success, **cw},
        notes={**transfer(bench, {"before": bench.victim, "after": victim}, neighbour), **norm},
        loads=f"{file.name}, a member like any other",
    )  # fmt: skip
