# SPDX-License-Identifier: Apache-2.0
"""A stream of traffic signs at camera rate, with the truth about the road.

The file (`models/gtsrb/stream.npz`) holds whole tracks of the German Traffic Sign Recognition
Benchmark in driving order, signs wider than 64 pixels reduced to 64, and the tracks that were
perturbed offline. The signs are pasted into a drawn street and given with their box: finding signs
is out of scope.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from edgeguard.errors import EdgeguardError
from edgeguard.streams.pixels import unpack
from edgeguard.streams.street import Box, Street, place
from edgeguard.streams.truth import KMH, SafeSet, limits_kmh, safe_set

U8 = npt.NDArray[np.uint8]

FORMAT = 1
RATE_HZ = 10  # a track of 30 frames lasts 3 s: time to come down by 30 km/h at 4 m/s2
PERIOD_MS = 10


class Shot(NamedTuple):
    """One camera frame: BGR [480, 640, 3], the box of its sign, and when it was captured."""

    frame: U8
    box: Box
    t_ns: int


@dataclass(frozen=True)
class Track:
    """One drive up to one sign: its class, its key in the benchmark (class, track), its frames."""

    label: int
    key: tuple[int, int]
    frames: tuple[U8, ...] = field(repr=False)
    """RGB, uint8 [h, w, 3], in driving order."""


@dataclass(frozen=True)
class Attack:
    """A perturbed copy of a track. `kind` is pgd or sticker; both are static: made offline, against
    one member, without knowing the guard."""

    kind: str
    key: tuple[int, int]
    frames: tuple[U8, ...] = field(repr=False)
    fooled: int = 0
    """How many of the frames the attacked member misreads in the attacker's favour."""
    radius: int = 0
    """Of 255: the most by which a pixel was changed; 0 for stickers."""


@dataclass(frozen=True)
class SignStream:
    """Tracks driven one after the other. `frozen` names the policy that was fixed beforehand."""

    tracks: tuple[Track, ...]
    attacks: tuple[Attack, ...] = ()
    names: tuple[str, ...] = ()
    initial_kmh: int = 50
    initial_speed: float = 30 * KMH
    seed: int = 0
    frozen: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def per_track(self) -> int:
        """Frames of a track."""
        return len(self.tracks[0].frames)

    @property
    def frames(self) -> int:
        """Camera frames of the whole stream."""
        return self.per_track * len(self.tracks)

    @property
    def ticks_per_frame(self) -> int:
        """Control periods between two frames."""
        return 1000 // RATE_HZ // PERIOD_MS

    @property
    def ticks(self) -> int:
        """Control periods of the whole stream."""
        return self.frames * self.ticks_per_frame

    @property
    def seconds(self) -> float:
        """Simulated time of the whole stream."""
        return self.frames / RATE_HZ

    @property
    def labels(self) -> list[int]:
        """The class of every track."""
        return [track.label for track in self.tracks]

    @cached_property
    def safe(self) -> SafeSet:
        """The safe commands of every tick."""
        return safe_set(self.labels, self.initial_kmh, self.per_track * self.ticks_per_frame)

    @cached_property
    def street(self) -> Street:
        """What is drawn around the signs."""
        return Street(self.seed)

    def name(self, label: int) -> str:
        """What a class is called."""
        return self.names[label] if 0 <= label < len(self.names) else f"class {label}"

    def where(self, key: tuple[int, int]) -> int:
        """The position of a track in the stream. Raises KeyError."""
        for i, track in enumerate(self.tracks):
            if track.key == key:
                return i
        raise KeyError(f"no track {key} in this stream")

    def shot(self, index: int, t_ns: int, sign: U8 | None = None) -> Shot:
        """Camera frame number `index`, or the same view with another sign [h, w, 3] RGB."""
        number, step = divmod(index, self.per_track)
        sign = self.tracks[number].frames[step] if sign is None else sign
        height, width = sign.shape[:2]
        progress = step / max(self.per_track - 1, 1)
        box = place(self.seed * 1000 + number, progress, width, height)
        return Shot(self.street.frame(index, sign, box), box, t_ns)

    def cut(self, first: int, count: int) -> SignStream:
        """Some tracks of this stream, from number `first`; the limit before them holds at first."""
        before = limits_kmh(self.labels[:first], self.initial_kmh)
        limit = before[-1] if before else self.initial_kmh
        tracks = self.tracks[first : first + count]
        speed = min(limit * KMH, self.initial_speed)
        return replace(self, tracks=tracks, initial_kmh=limit, initial_speed=speed)

    def pick(self, *keys: tuple[int, int], limit_kmh: int) -> SignStream:
        """Some tracks in an order of one's own; the car comes at the limit that is in force."""
        tracks = tuple(self.tracks[self.where(key)] for key in keys)
        return replace(
            self, tracks=tracks, initial_kmh=limit_kmh, initial_speed=limit_kmh * KMH - 0.01
        )


def load(path: str | Path, seed: int = 0) -> SignStream:
    """Read a stream file. `seed` moves the signs and redraws the street.

    Raises EdgeguardError when the file is missing, damaged or of another format.
    """
    try:
        with np.load(path) as file:
            about: dict[str, Any] = json.loads(str(file["about"]))
            if about.get("format") != FORMAT:
                raise EdgeguardError(f"{path}: format {about.get('format')}, want {FORMAT}")
            return _stream(about, iter(unpack(file["pixels"], file["sizes"])), seed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
        raise EdgeguardError(
            f"{path}: not a stream file: {error}; `edgeguard lab stream gtsrb` makes it"
        ) from None


def _stream(about: dict[str, Any], rest: Iterator[U8], seed: int) -> SignStream:
    """The pictures stand in the file in the order in which `about` counts them."""
    tracks = tuple(Track(t["label"], _key(t), _some(rest, t["frames"])) for t in about["tracks"])
    attacks = tuple(
        Attack(a["kind"], _key(a), _some(rest, a["frames"]), a["fooled"], a["radius"])
        for a in about["attacks"]
    )
    return SignStream(tracks, attacks, tuple(about["names"]), seed=seed, frozen=about["frozen"])


def _some(pictures: Iterator[U8], count: int) -> tuple[U8, ...]:
    some = tuple(islice(pictures, count))
    if len(some) != count:
        raise ValueError("it holds fewer pictures than it says")
    return some


def _key(entry: dict[str, Any]) -> tuple[int, int]:
    label, track = entry["key"]
    return int(label), int(track)


def digests(policy: Path) -> dict[str, str]:
    """SHA-256 of guard.toml and of the calibration beside it, where there is one."""
    found = {}
    for path in (policy, policy.with_name("calibration.toml")):
        if path.is_file():
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
