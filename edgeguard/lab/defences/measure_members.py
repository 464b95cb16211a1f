# SPDX-License-Identifier: Apache-2.0
"""Cards of members that are made anew: behind an autoencoder, or trained against attacks.

What is made is one int8 file, which is attacked as the bare member is. Static pictures were made on
the bare member: for the new one they are a transfer.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import attrs
import numpy as np
import torch

from edgeguard.card import Card as BareCard
from edgeguard.lab.attacks.campaign import digest_of
from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import Target, Victim, images
from edgeguard.lab.defences import autoencoder, harden
from edgeguard.lab.defences.bench import Bench
from edgeguard.lab.defences.card import Card
from edgeguard.lab.defences.detector import Share
from edgeguard.lab.defences.measure_detectors import RADII
from edgeguard.lab.defences.measure_stages import adaptive, shares, static
from edgeguard.lab.defences.static import BATCH, SteadyPGD
from edgeguard.lab.zoo import data
from edgeguard.lab.zoo.onnx_torch import OnnxNet
from edgeguard.zoo import models_dir

HERE = Path(__file__).resolve().parent
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
    training, held = _split(bench)
    if isinstance(how, autoencoder.Recipe):
        denoiser, seconds = autoencoder.fit(how, OnnxNet(twin).scores, training)
        autoencoder.write(denoiser, twin, held.x[::5], file)
        return seconds
    other = OnnxNet(_neighbour(bench)).scores if how.way == "diverse" else None
    net, seconds = harden.fit(how, twin, training, other)
    harden.write(net, held.x[::5], file)
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
    own, threat = bench.chosen.where(rows), Threat("linf", RADII["linf.4"])
    attack, hits, n = SteadyPGD(threat, 20, 0.125, margin), dict.fromkeys(victims, 0), 0
    for at in range(0, len(own), BATCH):
        part = own.where(np.arange(at, min(at + BATCH, len(own))))
        adv = attack(neighbour, images(part.pixels), torch.from_numpy(part.y))
        result = judge(neighbour, part.pixels, part.y, adv, threat)
        n += int(result.fooled.sum())
        for name, victim in victims.items():
            wrong = victim.labels(result.pixels) != part.y
            hits[name] += int((wrong & result.fooled).sum())
        bench.advance(len(part))
    return {f"transfer.{name}": Share(count, n) for name, count in hits.items()}


def _split(bench: Bench) -> tuple[data.Images, data.Images]:
    keys = data.read_split(models_dir() / "split.json")
    return data.split(data.load_train(bench.root), keys)


def made(bench: Bench, name: str, folder: Path) -> tuple[Path, float]:
    """The int8 file in `folder`, trained where it is not there yet, and the CPU seconds of that.

    Its name carries a hash of the recipe, the float twins and the source, so that no other request
    takes it for its own. Raises EdgeguardError for a member without a float twin.
    """
    twin = bench.twin(name)
    how = recipe_of(bench, name)
    sources = [HERE / "autoencoder.py", HERE / "harden.py"]
    key = digest_of([*sources, _neighbour(bench)], twin, repr(how).encode())
    file = folder / f"{bench.member}.{name}-{key}.onnx"
    about = file.with_suffix(".training.json")
    if not file.exists():
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            seconds = _make(bench, how, twin, Path(fresh) / file.name)
            about.write_text(json.dumps({"cpu_s": seconds}) + "\n")
            for part in sorted(Path(fresh).iterdir(), key=lambda part: part.name == file.name):
                part.replace(folder / part.name)  # the file last: where it is, all is
    return file, float(json.loads(about.read_text())["cpu_s"])


def measure(bench: Bench, name: str, folder: Path) -> Card:
    """Train if need be, then attack the file."""
    file, seconds = made(bench, name, folder)
    victim = Victim(file, bench.agreed, attrs.evolve(bench.card, file=file.name))
    card = BareCard.load(_neighbour(bench).with_suffix("").with_suffix(".card.json"))
    neighbour = Victim(card.model_path, bench.agreed, card)
    labels = victim.labels(bench.chosen.pixels)
    after = labels == bench.chosen.y
    was, fell = after[bench.right], static(bench, victim)
    return Card(
        name=name, kind=KINDS[name], member=bench.member, device_us=bench.dearer_us(victim.labels),
        training=bench.training_multiple(seconds), clean_before=bench.clean(),
        clean_after=Share(int(after.sum()), len(after)),
        coverage=Share(len(after), len(after)), static=shares(fell, was),
        adaptive=adaptive(bench, victim, after, fell, {"linf.2": 2 / 255, **RADII}),
        notes=transfer(bench, {"before": bench.victim, "after": victim}, neighbour),
        loads=f"{file.name}, a member like any other",
    )  # fmt: skip
