# SPDX-License-Identifier: Apache-2.0
"""Real signs for tests of the lab: out of the shipped stream, at the size of a model."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgeguard.streams.stream import load
from edgeguard.zoo import models_dir

U8 = npt.NDArray[np.uint8]


@cache
def signs(count: int, height: int = 32, width: int = 32) -> tuple[U8, npt.NDArray[np.int64]]:
    """Pictures [N, 3, height, width] spread over all tracks, the near half of each; labels [N]."""
    stream = load(models_dir() / "stream.npz")
    frames = [(f, t.label) for t in stream.tracks for f in t.frames[len(t.frames) // 2 :]]
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, count).astype(int)]
    size = (width, height)
    pixels = [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BOX)) for f, _ in chosen]
    return (
        np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2)),
        np.array([label for _, label in chosen], np.int64),
    )
