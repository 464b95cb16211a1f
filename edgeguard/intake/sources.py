# SPDX-License-Identifier: Apache-2.0
"""Where frames come from: a camera, a video file, a folder of pictures, a recorded stream."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeguard.errors import EdgeguardError
from edgeguard.npz import read_npz

Box = tuple[int, int, int, int]
PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class Frame(NamedTuple):
    """One picture, uint8 in the camera's format, captured at ``t_ns``; signals recorded with it."""

    image: npt.NDArray[np.uint8]
    t_ns: int
    box: Box | None
    signals: Mapping[str, float]


def recorded(source: str, rate_hz: float) -> Iterator[Frame]:
    """Frames of something that is not live, in simulated time from 0, BGR where it is decoded.

    source: a folder of pictures in the order of their names, a video file, or a recorded stream.
    Raises EdgeguardError, which names the file and what is wrong with it.
    """
    if "://" in source:
        raise EdgeguardError(
            f"{source}: of streams from the network a confined decoder reads rtsp:// alone;"
            " gstreamer:PIPELINE reads others in this process, see docs/integrations/cameras.md"
        )
    path = Path(source)
    try:
        folder, file = path.is_dir(), path.is_file()
    except OSError as error:  # a folder above it is closed to us
        raise EdgeguardError(f"{source}: {error.strerror}") from None
    if folder:
        return _timed(_folder(path), rate_hz)
    if not file:
        raise EdgeguardError(f"{source}: no such file or folder; or write camera:0 or simulated")
    if path.suffix == ".npz":
        return _stream(path, rate_hz)
    return _timed(_video(source), rate_hz)


def live(number: int) -> Iterator[Frame]:
    """Frames of an attached camera, stamped with CLOCK_MONOTONIC on arrival. Blocks for them."""
    for image in _video(number):
        yield Frame(image, time.monotonic_ns(), None, {})


def _timed(images: Iterator[npt.NDArray[np.uint8]], rate_hz: float) -> Iterator[Frame]:
    for i, image in enumerate(images):
        yield Frame(image, int(i / rate_hz * 1e9), None, {})


def _folder(folder: Path) -> Iterator[npt.NDArray[np.uint8]]:
    import cv2

    try:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
    except OSError as error:
        raise EdgeguardError(f"{folder}: {error.strerror}") from None
    if not files:
        raise EdgeguardError(f"{folder}: holds no pictures ({', '.join(sorted(PICTURES))})")
    for file in files:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise EdgeguardError(f"{file}: is no readable picture")
        yield image.astype(np.uint8, copy=False)


def _video(source: str | int) -> Iterator[npt.NDArray[np.uint8]]:
    import cv2

    capture = cv2.VideoCapture(source)
    try:
        if not capture.isOpened():
            name = f"camera:{source}" if isinstance(source, int) else source
            raise EdgeguardError(f"{name}: neither a video nor a camera that OpenCV can open")
        while True:
            good, image = capture.read()
            if not good:
                return
            yield image.astype(np.uint8, copy=False)
    finally:
        capture.release()


def _stream(path: Path, rate_hz: float) -> Iterator[Frame]:
    """x uint8 [N, ...] in the camera's format; optional t_ns [N], box [N, 4], signal.NAME [N]."""
    table = read_npz(path)
    images = table.get("x")
    if images is None or images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise EdgeguardError(f"{path}: x: want frames, uint8 [N, H, W] or [N, H, W, C]")
    signals = {k.removeprefix("signal."): v for k, v in table.items() if k.startswith("signal.")}
    for name, kinds, columns in (
        ("t_ns", "iu", ()),
        ("box", "iu", (4,)),
        *((f"signal.{s}", "iufb", ()) for s in signals),
    ):
        if name in table:
            _check(f"{path}: {name}", table[name], kinds, (len(images), *columns))
    for i, image in enumerate(images):
        box = tuple(int(v) for v in table["box"][i]) if "box" in table else None
        t_ns = int(table["t_ns"][i]) if "t_ns" in table else int(i / rate_hz * 1e9)
        yield Frame(image, t_ns, box, {k: float(v[i]) for k, v in signals.items()})  # type: ignore[arg-type]


def _check(where: str, array: npt.NDArray[Any], kinds: str, shape: tuple[int, ...]) -> None:
    if array.dtype.kind not in kinds or array.shape != shape:
        what = "numbers" if "f" in kinds else "integers"
        raise EdgeguardError(
            f"{where}: want {what} {list(shape)}, got {array.dtype} {list(array.shape)}"
        )
