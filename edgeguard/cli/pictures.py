# SPDX-License-Identifier: Apache-2.0
"""Picture files as model inputs, by the same kernel that a guard uses."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.card import Input
from edgeguard.errors import ConfigError
from edgeguard.intake.preprocess import InputSpec, Preprocessor
from edgeguard.intake.sources import PICTURES

MOST_PIXELS = 64_000_000  # a picture file may not blow up the machine

Picture = npt.NDArray[np.uint8]


def tensors(folder: Path, count: int, card_input: Input) -> npt.NDArray[Any]:
    """Up to `count` pictures of a folder as model inputs [N, ...] of the card's dtype and layout.

    Raises ConfigError for a folder without readable pictures or a missing decoder.
    """
    files = sorted(p for p in _listed(folder) if p.suffix.lower() in PICTURES)
    if not files:
        raise ConfigError(f"{folder}: holds no pictures ({', '.join(sorted(PICTURES))})")
    step = max(len(files) // count, 1)
    return np.stack([tensor(read(file), card_input) for file in files[::step][:count]])


def tensor(picture: Picture, card_input: Input) -> npt.NDArray[Any]:
    """One RGB picture [H, W, 3] as a model input without its batch."""
    spec = InputSpec.of(card_input)
    out = spec.empty()
    height, width = picture.shape[:2]
    Preprocessor(spec, height, width, "RGB", statistics=False).run(picture, out)
    return out[0]  # type: ignore[no-any-return]  # indexing an Any array


def read(file: Path) -> Picture:
    """A picture file as RGB [H, W, 3], by Pillow or OpenCV, whichever is there."""
    if importlib.util.find_spec("PIL") is not None:
        return _pillow(file)
    if importlib.util.find_spec("cv2") is not None:
        return _opencv(file)
    raise ConfigError(
        f"{file}: reading pictures needs OpenCV or Pillow; pip install 'edgeguard-monitor[images]'"
    )


def _listed(folder: Path) -> list[Path]:
    try:
        return [p for p in folder.iterdir() if p.is_file()]
    except OSError as error:
        raise ConfigError(f"{folder}: {(error.strerror or str(error)).lower()}") from None


def _pillow(file: Path) -> Picture:
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ConfigError(f"{file}: more than {MOST_PIXELS:,} pixels")
            return np.ascontiguousarray(np.asarray(image.convert("RGB"), np.uint8))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConfigError(f"{file}: is no readable picture: {error}") from None


def _opencv(file: Path) -> Picture:
    import cv2

    try:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise ConfigError(f"{file}: is no readable picture")
    return np.ascontiguousarray(np.asarray(image, np.uint8)[..., ::-1])
