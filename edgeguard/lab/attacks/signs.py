# SPDX-License-Identifier: Apache-2.0
"""Stickers on reserved tracks in original size: targets fixed beforehand, one result a sign."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from edgeguard.figures import Figure
from edgeguard.lab.attacks.campaign import HERE, digest_of
from edgeguard.lab.attacks.eot import HELD_OUT
from edgeguard.lab.attacks.rp2 import RP2, SIDE, Sign, Sticker, frames_with, read
from edgeguard.lab.attacks.victim import Victim

# Class of the sign -> class that the stickers should let be read; fixed before any run. The pair of
# the white paper (no entry read as a speed limit: 45, the nearest here is 50) and that of RP2 (stop
# read as 80 km/h); for limits, a higher one.
TARGETS = {17: 2, 14: 5, 13: 5, 12: 7, 0: 4, 1: 5, 2: 5, 3: 8, 4: 7, 5: 8, 7: 8, 8: 5}
EVERY, DRAWS = 3, 3  # frames that are judged, and held-out views of each
MODULES = ("rp2", "eot", "victim", "signs")


@dataclass(frozen=True)
class Fooled:
    """One sign; shares of the held-out views."""

    label: int
    target: int
    cover: float
    targeted: float
    wrong: float
    clean_right: float
    control: float
    """Read as the target with stickers of random colours in the same places."""


def load_sign(root: Path, label: int) -> Sign:
    """The first reserved track of a class."""
    folder = root / "gtsrb" / "tracks_original"
    rows = [
        r for r in csv.DictReader((folder / "tracks.csv").open()) if int(r["class_id"]) == label
    ]
    first = min(int(r["track"]) for r in rows)
    rows = [r for r in rows if int(r["track"]) == first]
    with zipfile.ZipFile(folder / "tracks.zip") as archive:
        inside = {Path(name).name: name for name in archive.namelist()}
        pictures = [archive.read(inside[Path(r["path"]).name]) for r in rows]
    frames = [np.asarray(Image.open(io.BytesIO(p)).convert("RGB")) for p in pictures]
    boxes = [
        (float(r["roi_x1"]), float(r["roi_y1"]), float(r["roi_x2"]), float(r["roi_y2"]))
        for r in rows
    ]
    return Sign(label, frames, boxes)


def attack(
    victim: Victim, root: Path, results: Path, signs: int,
    done: Callable[[int], None] = lambda n: None,
) -> list[Fooled]:  # fmt: skip
    """Stickers for the first signs of TARGETS; each is kept as JSON beside its texture."""
    key = digest_of([HERE / f"{m}.py" for m in MODULES], victim.path)
    folder = results / victim.path.stem / f"rp2-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for label, target in list(TARGETS.items())[:signs]:
        file = folder / f"{label:02d}-as-{target:02d}.json"
        if not file.exists():
            made, sticker = _one(victim, load_sign(root, label), target)
            np.savez_compressed(file.with_suffix(".npz"), texture=sticker.texture.numpy(),
                                mask=sticker.mask.numpy())  # fmt: skip
            file.write_text(json.dumps(vars(made)) + "\n")
        found.append(Fooled(**json.loads(file.read_text())))
        done(1)
    return found


def _one(victim: Victim, sign: Sign, target: int) -> tuple[Fooled, Sticker]:
    sticker = RP2(target)(victim, sign)
    g = torch.Generator().manual_seed(1)
    control = Sticker(torch.rand((3, SIDE, SIDE), generator=g), sticker.mask)
    seen = read(victim, frames_with(sign, sticker)[::EVERY], HELD_OUT, DRAWS, 1)
    clean = read(victim, sign.frames[::EVERY], HELD_OUT, DRAWS, 1)
    random = read(victim, frames_with(sign, control)[::EVERY], HELD_OUT, DRAWS, 1)
    right = clean == sign.label
    shares = [float(a[right].mean()) if right.any() else 0.0
              for a in (seen == target, seen != sign.label, random == target)]  # fmt: skip
    return Fooled(sign.label, target, sticker.cover, shares[0], shares[1], float(right.mean()),
                  shares[2]), sticker  # fmt: skip


def figures(member: str, found: list[Fooled], bar: float | None) -> list[Figure]:
    """`attack.MEMBER.rp2.cover20.*`: means over signs; the unit is the sign."""
    at, n = f"attack.{member}.rp2.cover20", len(found)
    value = float(np.mean([f.targeted for f in found]))
    words, holds = (None, None) if bar is None else (f">= {bar:g}", value >= bar)
    return [
        Figure(f"{at}.success", value, "1", n, None, words, holds),
        Figure(f"{at}.control", float(np.mean([f.control for f in found])), "1", n),
        Figure(f"{at}.most_cover", max(f.cover for f in found), "1", n, None, "<= 0.2",
               max(f.cover for f in found) <= 0.2),
    ]  # fmt: skip
