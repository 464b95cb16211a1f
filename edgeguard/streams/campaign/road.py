# SPDX-License-Identifier: Apache-2.0
"""What the cameras see where real models look: pictures that they agree on without a fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from edgeguard.config import GuardConfig
from edgeguard.errors import EdgeguardError
from edgeguard.guard import Guard
from edgeguard.intake.decoder import confined
from edgeguard.streams.campaign.puppets import Meaning

U8 = npt.NDArray[np.uint8]

SIZE = 64  # of the pictures of a recorded stream, which hold a sign and nothing else
NOISE = 2  # of 255: no two frames are alike, or the camera would count as frozen
LOOKS = 3  # with other noise each: what is sure only now and then is not taken
FRAMES = (-1, -8)  # of a track: its sign is near
ANSWER_S = 5.0
FRAME_NS = 100_000_000


@frozen
class Road:
    """Pictures by label, uint8 in the cameras' format; what they show is what all members say."""

    labels: tuple[tuple[int, float], ...]
    """(index, value) by rising value; at least two values."""
    pictures: dict[int, tuple[U8, ...]]

    def frame(self, label: int, rng: Random) -> U8:
        """A picture of it, as a sensor would give it: with noise."""
        picture = rng.choice(self.pictures[label])
        noise = np.frombuffer(rng.randbytes(picture.size), np.uint8) % (2 * NOISE + 1)
        noisy = picture.astype(np.int16) + noise.reshape(picture.shape) - NOISE
        return noisy.clip(0, 255).astype(np.uint8)


def road(guard: Guard, means: Meaning, source: Path) -> Road:
    """Show an armed guard the pictures of a folder, or of a stream of signs, and keep what all of
    its members see alike and surely. Raises EdgeguardError when that is too little."""
    found: dict[int, list[U8]] = {}
    order, t_ns = _order(guard.config), 0
    values = dict(means.labels)
    for picture in _stream(source) if source.suffix == ".npz" else _folder(source):
        candidate = Road((), {-1: (np.ascontiguousarray(picture[..., ::order]),)})
        seen = set()
        for n in range(LOOKS):
            t_ns += FRAME_NS
            seen.add(_said(guard, candidate.frame(-1, Random(n)), t_ns))
        label = seen.pop()
        if not seen and label in values:
            found.setdefault(label, []).append(candidate.pictures[-1][0])
    labels = tuple((i, v) for i, v in means.labels if i in found)
    if len({value for _, value in labels}) < 2:
        raise EdgeguardError(
            f"{source}: want pictures of at least two classes that command different values on"
            f" {means.channel}, seen alike by all members; there are {len(labels)}"
        )
    return Road(labels, {label: tuple(some) for label, some in found.items()})


def unfit(config: GuardConfig) -> str | None:
    """Why no pictures can be shown to this guard's models, or None."""
    for name, camera in config.cameras.items():
        if camera.frame is not None and camera.frame.format not in ("BGR", "RGB"):
            return f"camera.{name} delivers {camera.frame.format}"
    for name, member in config.members.items():
        if member.runtime == "external" or member.camera is None:
            return f"member.{name} looks through no camera here"
    return None


def _order(config: GuardConfig) -> int:
    """How the channels of BGR are to be read for the cameras of this guard."""
    formats = {c.frame.format if c.frame else "BGR" for c in config.cameras.values()}
    return -1 if formats == {"RGB"} else 1


def _said(guard: Guard, frame: U8, t_ns: int) -> int | None:
    """The label that all members give, each surely enough for every operation."""
    for camera in guard.config.cameras:
        guard.observe(camera, frame, t_ns)
    guard.wait(ANSWER_S)
    demands: list[Any] = [
        demand.certainty
        for channel in guard.config.channels.values()
        for demand in channel.demands.values()
    ]
    least = max((d for d in demands if not isinstance(d, str)), default=0.9)
    said = [guard.evidence(name) for name in guard.config.members]
    labels = {int(e["label"]) for e in said}
    sure = all(e["certainty"] >= least for e in said)
    return labels.pop() if len(labels) == 1 and sure else None


def _stream(source: Path) -> Iterator[U8]:
    from edgeguard.streams.stream import load

    for track in load(source).tracks:
        for at in FRAMES:
            sign = track.frames[at][..., ::-1]
            rows, columns = (np.arange(SIZE) * side // SIZE for side in sign.shape[:2])
            yield sign[rows[:, None], columns]


def _folder(source: Path) -> Iterator[U8]:
    for frame in confined(str(source), 10.0):
        yield frame.image
