# SPDX-License-Identifier: Apache-2.0
"""Stickers on reserved tracks in original size: targets fixed beforehand, one result a sign. A sign
that the member never reads rightly when it is clean says nothing of stickers: it is left out."""

from __future__ import annotations

import csv
import io
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import evolve
from PIL import Image

from edgeguard.figures import Figure
from edgeguard.lab.attacks import corpus
from edgeguard.lab.attacks.campaign import HERE, card_bytes, digest_of
from edgeguard.lab.attacks.eot import HELD_OUT
from edgeguard.lab.attacks.intervals import mean_interval
from edgeguard.lab.attacks.rp2 import (
    MOST_COVER,
    RP2,
    SIDE,
    Sign,
    Sticker,
    frames_with,
    read,
    size_of,
    small,
)
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import U8, Floats, Victim, to_pixels

# Class of the sign -> class that the stickers should let be read; fixed before any run. The pair of
# the white paper (no entry read as a speed limit: 45, the nearest here is 50) and that of RP2 (stop
# read as 80 km/h); for limits, a higher one.
TARGETS = {17: 2, 14: 5, 13: 5, 12: 7, 0: 4, 1: 5, 2: 5, 3: 8, 4: 7, 5: 8, 7: 8, 8: 5}
EVERY, DRAWS = 3, 3  # frames that are judged, and held-out views of each
MODULES = ("rp2", "eot", "losses", "threat", "victim", "signs")
THREAT = Threat("l0", MOST_COVER, transformations=HELD_OUT.names)
SHARES = ("cover", "targeted", "wrong", "clean_right", "control")


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

    @property
    def counts(self) -> bool:
        """Whether the clean sign was read rightly in any view."""
        return self.clean_right > 0


def tracks(root: Path) -> bytes:
    """What the pictures of the tracks depend on."""
    folder = root / "gtsrb" / "tracks_original"
    return b"".join(
        sha256((folder / n).read_bytes()).digest() for n in ("tracks.csv", "tracks.zip")
    )


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
) -> tuple[list[Fooled], Path]:  # fmt: skip
    """Stickers for the first signs of TARGETS, and where they are kept."""
    rows, folder = _rows(victim, root, results, signs, done)
    found = []
    for row in rows:
        shares = {name: float(row[name][0]) for name in SHARES}
        label, target = int(row["y"][0]), int(row["target"][0])
        found.append(Fooled(label=label, target=target, **shares))
    return found, folder


def stickers(victim: Victim, root: Path, results: Path, signs: int) -> list[Sticker]:
    """The same stickers themselves, for who judges them elsewhere."""
    rows, _ = _rows(victim, root, results, signs)
    return [Sticker(*(torch.from_numpy(row[n][0]) for n in ("texture", "mask"))) for row in rows]


def _rows(
    victim: Victim, root: Path, results: Path, signs: int,
    done: Callable[[int], None] = lambda n: None,
) -> tuple[list[corpus.Handful], Path]:  # fmt: skip
    key = digest_of([HERE / f"{m}.py" for m in MODULES], victim.path, card_bytes(victim.card),
                    tracks(root))  # fmt: skip
    folder = results / victim.path.stem / f"rp2.cover20-{key}"
    corpus.begin(folder, corpus.about(victim.path, "rp2", THREAT))
    found = []
    for number, (label, target) in enumerate(list(TARGETS.items())[:signs]):
        file = folder / f"{number:02d}.npz"
        sign = load_sign(root, label)
        row = corpus.kept(file, last(sign)[None], np.array([label]))
        if row is None:
            row = _one(victim, sign, RP2(target))
            corpus.write(file, row)
        found.append(row)
        done(1)
    return found, folder


def _one(victim: Victim, sign: Sign, attack: RP2) -> dict[str, Any]:
    """A handful of one: its pictures are the track's last frame at the size of a texture."""
    start = time.process_time()
    sticker, target = attack(victim, sign, size_of(victim)), attack.target
    cpu_s = time.process_time() - start
    stuck = marked(sign, sticker)
    seen, clean, random = (
        read(victim, s.frames[::EVERY], HELD_OUT, DRAWS, 1)
        for s in (stuck, sign, marked(sign, random_colours(sticker)))
    )
    right = clean == sign.label
    shares = [float(a[right].mean()) if right.any() else 0.0
              for a in (seen == target, seen != sign.label, random == target)]  # fmt: skip
    told = np.bincount(seen[right]).argmax() if right.any() else sign.label
    row = {
        "y": sign.label, "target": target, "label": told, "hit": told == target,
        "size": sticker.cover, "queries": 0, "cpu_s": cpu_s, "clean": last(sign),
        "pixels": last(stuck), "texture": sticker.texture.numpy(),
        "mask": sticker.mask.numpy(),
        **dict(zip(SHARES, (sticker.cover, *shares[:2], right.mean(), shares[2]), strict=True)),
    }  # fmt: skip
    return {name: np.asarray(value)[None] for name, value in row.items()}


def marked(sign: Sign, sticker: Sticker) -> Sign:
    """The same track with stickers on the sign."""
    return replace(sign, frames=frames_with(sign, sticker))


def random_colours(sticker: Sticker) -> Sticker:
    """The control: random colours in the same places."""
    g = torch.Generator().manual_seed(1)
    return Sticker(torch.rand((3, SIDE, SIDE), generator=g), sticker.mask)


def last(sign: Sign) -> U8:
    """The frame in which the sign is nearest, uint8 [3, SIDE, SIDE]."""
    return to_pixels(small(replace(sign, frames=sign.frames[-1:], boxes=sign.boxes[-1:]))[0])[0]


def figures(member: str, found: list[Fooled], bar: float | None) -> list[Figure]:
    """`attack.MEMBER.rp2.cover20.*`: means over signs that count; the unit is the sign."""
    at, counted = f"attack.{member}.rp2.cover20", [f for f in found if f.counts]
    targeted, control, right = (np.array([getattr(f, name) for f in counted])
                                for name in ("targeted", "control", "clean_right"))  # fmt: skip
    success, most = mean(f"{at}.success", targeted), max(f.cover for f in found)
    words, holds = (None, None) if bar is None else (f">= {bar:g}", success.value >= bar)
    return [
        evolve(success, bar=words, holds=holds),
        mean(f"{at}.control", control),
        mean(f"{at}.clean_right", right),
        Figure(f"{at}.left_out", len(found) - len(counted), "1", len(found)),
        Figure(f"{at}.most_cover", most, "1", len(found), None, f"<= {MOST_COVER:g}",
               most <= MOST_COVER),
    ]  # fmt: skip


def mean(name: str, shares: Floats) -> Figure:
    """Of shares, one a sign."""
    value = float(shares.mean()) if len(shares) else 0.0
    return Figure(name, value, "1", len(shares), mean_interval(shares))
