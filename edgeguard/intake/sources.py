# SPDX-License-Identifier: Apache-2.0
"""Where frames come from: a camera, a video file, a folder of pictures, a recorded stream."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeguard.errors import EdgeguardError
from edgeguard.npz import read_npz

Box = tuple[int, int, int, int]
STREAM = ".npz"  # of a recorded stream
MOST_GAP_NS = 3_600_000_000_000  # between two recorded frames: every period in it is decided
OLDEST_NS = 5_000_000_000  # longer than a camera's buffers hold a frame back
READS = 3  # of a camera that fail in a row until it has ended
READ_AGAIN_S = 0.05
RATE_SLACK = 0.01  # of a video's rate: 29.97 passes for 30
OPEN_AGAIN_S = (0.2, 1.0, 2.0, 4.0, 8.0, 16.0)
PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

_log = logging.getLogger("edgeguard")


class Frame(NamedTuple):
    """One picture, uint8 in the camera's format, captured at ``t_ns``; signals recorded with it."""

    image: npt.NDArray[np.uint8]
    t_ns: int
    box: Box | None
    signals: Mapping[str, float]


def recorded(source: str, rate_hz: float) -> Iterator[Frame]:
    """Frames of something that is not live, in simulated time from 0, BGR where it is decoded.

    source: a folder of pictures in the order of their names, a video file, or a recorded stream.
    Raises EdgeguardError, which names the file and what is wrong with it; warns of a video that is
    shorter or of another rate than it says.
    """
    if not source:  # a variable that is not set; Path("") would be the working directory
        raise EdgeguardError("--source: is empty, want a folder, a file, or a camera")
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
        return _some(source, _timed(_folder(path), rate_hz))
    if not file:
        raise EdgeguardError(
            f"{source}: no such file or folder; others: camera:0, rtsp://HOST/PATH,"
            " gstreamer:PIPELINE, simulated"
        )
    if path.suffix == STREAM:
        return _some(source, _stream(path, rate_hz))
    return _some(source, _timed(_video(source, rate_hz), rate_hz))


def follows(before_ns: int, t_ns: int) -> bool:
    """Whether the next frame of a recording can be of then."""
    return before_ns <= t_ns <= before_ns + MOST_GAP_NS


def live(number: int, size: tuple[int, int] | None) -> Iterator[Frame]:
    """Frames of an attached camera, stamped as `Stamps` says. Blocks for them, and ends when none
    comes any more. size: width and height that it is asked for; it may have its own mind."""
    import cv2

    with _opened(number, f"camera:{number}") as capture:
        if size is not None:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        # One is read while the other is filled. Of four, old frames would wait after a pause; with
        # one alone a camera loses every second frame.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)
        yield from grabbed(capture)


def grabbed(capture: Any) -> Iterator[Frame]:
    """What a camera gives that OpenCV has opened; a read may fail now and then."""
    import cv2

    stamps, failed = Stamps(), 0
    while failed < READS:
        good, image = capture.read()
        now_ns = time.monotonic_ns()
        if not good:
            failed += 1
            time.sleep(READ_AGAIN_S)
            continue
        failed = 0
        t_ns = stamps.taken(int(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6), now_ns)
        yield Frame(image.astype(np.uint8, copy=False), t_ns, None, {})


class Stamps:
    """When the frames of an attached camera were taken, on CLOCK_MONOTONIC.

    Video4Linux drivers say it on that clock, most of them. It is believed once two frames in a row
    carry times that rise and lie shortly ago, and from then on, however old a frame is. Until then,
    and of a driver that means another clock, the time of reading has to do: a frame that waited in
    a buffer passes for a new one there.
    """

    def __init__(self) -> None:
        self._said_ns, self._believed = -OLDEST_NS, False

    def taken(self, said_ns: int, now_ns: int) -> int:
        """By the driver it was taken then, and now it is here."""
        if not self._believed:
            before_ns, self._said_ns = self._said_ns, said_ns
            self._believed = before_ns < said_ns <= now_ns <= before_ns + OLDEST_NS
        return min(said_ns, now_ns) if self._believed else now_ns


def reopened(name: str, frames: Callable[[], Iterator[Frame]]) -> Iterator[Frame]:
    """Frames of a live source, which is opened again, after ever longer pauses, when it ends or
    fails. Raises EdgeguardError when it gave nothing at first, or nothing in all these attempts."""
    pauses: Iterator[float] = iter(())
    while True:
        why = "it ended"
        try:
            for frame in frames():
                pauses = iter(OPEN_AGAIN_S)
                yield frame
        except EdgeguardError as error:
            why = str(error)
        pause_s = next(pauses, None)
        if pause_s is None:
            raise EdgeguardError(why)
        _log.warning("%s: no frames: %s; it is opened again", name, why)
        time.sleep(pause_s)


def _some(source: str, frames: Iterator[Frame]) -> Iterator[Frame]:
    """A recording without a frame shows nothing about the guard, though it ends well."""
    first = next(frames, None)
    if first is None:
        raise EdgeguardError(f"{source}: holds no frame that can be read")
    yield first
    yield from frames


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


def _video(source: str, rate_hz: float) -> Iterator[npt.NDArray[np.uint8]]:
    import cv2

    with _opened(source, source) as capture:
        _compare_rates(source, capture.get(cv2.CAP_PROP_FPS), rate_hz)
        stated, given = capture.get(cv2.CAP_PROP_FRAME_COUNT), 0
        while True:
            good, image = capture.read()
            if not good:
                break
            given += 1
            yield image.astype(np.uint8, copy=False)
    if given < stated:
        _log.warning(
            "%s: says that it holds %.0f frames, but gave %d: it is cut or damaged, or only"
            " estimates its length",
            source, stated, given,
        )  # fmt: skip


def _compare_rates(source: str, own_hz: float, rate_hz: float) -> None:
    """Frames pass for as far apart as guard.toml says, whatever the video says of itself."""
    if own_hz > 0 and abs(own_hz - rate_hz) > RATE_SLACK * rate_hz:
        _log.warning(
            "%s: was recorded at %g frames a second, but is judged at %g; set rate_hz of its"
            " [camera.NAME] to %g, if that is the camera's rate",
            source, own_hz, rate_hz, own_hz,
        )  # fmt: skip


@contextlib.contextmanager
def _opened(source: str | int, name: str) -> Iterator[Any]:
    import cv2

    capture = cv2.VideoCapture(source)
    try:
        if not capture.isOpened():
            raise EdgeguardError(f"{name}: neither a video nor a camera that OpenCV can open")
        yield capture
    finally:
        capture.release()


def _stream(path: Path, rate_hz: float) -> Iterator[Frame]:
    """x uint8 [N, ...] in the camera's format; optional t_ns [N], of which the first becomes 0, box
    [N, 4], signal.NAME [N]."""
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
    t_ns = [int(i / rate_hz * 1e9) for i in range(len(images))]
    if "t_ns" in table:
        t_ns = _since_the_first(path, table["t_ns"].tolist())
    for i, image in enumerate(images):
        box = tuple(int(v) for v in table["box"][i]) if "box" in table else None
        yield Frame(image, t_ns[i], box, {k: float(v[i]) for k, v in signals.items()})  # type: ignore[arg-type]


def _since_the_first(path: Path, stamps_ns: list[int]) -> list[int]:
    for i, (before_ns, t_ns) in enumerate(pairwise(stamps_ns), 1):
        if not follows(before_ns, t_ns):
            raise EdgeguardError(
                f"{path}: t_ns: frame {i} is {(t_ns - before_ns) / 1e9:g} s after the one before;"
                f" want 0 to {MOST_GAP_NS / 1e9:g} s"
            )
    return [t_ns - stamps_ns[0] for t_ns in stamps_ns]


def _check(where: str, array: npt.NDArray[Any], kinds: str, shape: tuple[int, ...]) -> None:
    if array.dtype.kind not in kinds or array.shape != shape:
        what = "numbers" if "f" in kinds else "integers"
        raise EdgeguardError(
            f"{where}: want {what} {list(shape)}, got {array.dtype} {list(array.shape)}"
        )
