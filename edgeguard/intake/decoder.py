# SPDX-License-Identifier: Apache-2.0
"""Sources, decoded in a confined process: bytes from outside are parsed nowhere else.

Over one pipe the process sends, for each frame, a length, a line of JSON and the pixels; it ends
with ``{"end": true}``, or with ``{"error": ...}`` and ``denied``, whether it tried what is refused
to it. It may begin with ``{"missing": [...]}``: what the kernel did not take from it, and say
``{"warning": ...}`` in between. Nothing that it says is believed unchecked, and no memory is taken
for a frame before its size was.
"""

from __future__ import annotations

import json
import logging
import math
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeguard import sandbox
from edgeguard.errors import EdgeguardError
from edgeguard.intake import rtsp
from edgeguard.intake.sources import STREAM, Box, Frame, follows, live, recorded

SILENCE_S = 60.0  # so long a frame, or the reading of a whole stream, may take
_ENDING_S = 1.0  # so long it may live on once it has closed its pipe
_MOST_BYTES = 2**28  # of a frame
_MOST_LIVE_BYTES = 2**26  # of a live one: where the tick is punctual, memory is filled when taken
_MOST_TEXT = 2**16
_MOST_WARNINGS = 10
_LENGTH = struct.Struct("<I")
_PROGRAM = sandbox.program("edgeguard.intake.decoder")
_ENVIRONMENT = {
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "threads;1|rtsp_transport;tcp", "OPENCV_LOG_LEVEL": "SILENT"
}  # fmt: skip
_LIBRARIES = ("cv2", "numpy")  # what a decoder may lack

_log = logging.getLogger("edgeguard")


class Head(NamedTuple):
    """What a decoder says of a frame before its pixels; the rest is as in `Frame`."""

    shape: tuple[int, ...]
    t_ns: int
    box: Box | None
    signals: Mapping[str, float]


Fits = Callable[[int, int], object]
"""Raises EdgeguardError for a width and height that are not wanted."""
Check = Callable[[Head], Head]
"""What is believed of a frame. Raises ValueError for what no honest decoder says."""


def confined(
    source: str, rate_hz: float, event: Callable[[str], object] = lambda name: None
) -> Iterator[Frame]:
    """As ``sources.recorded``, decoded in a confined process, which starts with the first frame.

    event: is told of a "sandbox_violation". Raises EdgeguardError as that does, and when the
    decoder crashes or goes silent.
    """
    yield from _decoded({"source": source, "rate_hz": rate_hz}, event, _recorded_frames(source))


def camera(
    number: int, event: Callable[[str], object] = lambda name: None,
    size: tuple[int, int] | None = None, fits: Fits | None = None,
) -> Iterator[Frame]:  # fmt: skip
    """As ``sources.live``, in the same way; of all devices, its process can use this camera.

    fits: is asked before the pixels of a frame are read; without it frames may not be large.
    """
    source = f"camera:{number}"
    options = {"source": source, "camera": number, "size": size}
    yield from _decoded(options, event, _live_frames(source, fits))


def network(
    url: str, event: Callable[[str], object] = lambda name: None, fits: Fits | None = None
) -> Iterator[Frame]:
    """As ``rtsp.frames``, in the same way; of all servers, its process can reach this one."""
    source = rtsp.name(url)
    yield from _decoded({"source": source}, event, _live_frames(source, fits), url)


def _recorded_frames(source: str) -> Check:
    """In their order, without ever so long gaps; with boxes and signals where these are recorded:
    whoever only decodes pictures does not speak for the vehicle."""
    before_ns, whole = 0, Path(source).suffix == STREAM

    def check(head: Head) -> Head:
        nonlocal before_ns
        if not follows(before_ns, head.t_ns):
            raise ValueError(head.t_ns)
        before_ns = head.t_ns
        return head if whole else head._replace(box=None, signals={})

    return check


def _live_frames(source: str, fits: Fits | None) -> Check:
    """BGR, of one size, and nothing but pixels that were captured before now."""
    first: tuple[int, ...] | None = None

    def check(head: Head) -> Head:
        nonlocal first
        height, width, depth = head.shape
        if depth != 3:
            raise ValueError(head.shape)
        if fits is not None:
            fits(width, height)
        elif math.prod(head.shape) > _MOST_LIVE_BYTES:
            raise EdgeguardError(
                f"{source}: gives {width} x {height}; if it may, write frame in [camera.NAME]"
            )
        if first not in (None, head.shape):
            raise EdgeguardError(f"{source}: its frames have become {width} x {height}")
        first = head.shape
        return head._replace(t_ns=min(head.t_ns, time.monotonic_ns()), box=None, signals={})

    return check


def _decoded(
    options: dict[str, Any], event: Callable[[str], object], check: Check, url: str = ""
) -> Iterator[Frame]:
    """url: handed over in a pipe, for it may hold a password, and everybody may read a command
    line."""
    ear, mouth = os.pipe2(os.O_CLOEXEC)
    secret, hand = os.pipe2(os.O_CLOEXEC)
    try:
        os.write(hand, url.encode())
        given = options | {"mouth": mouth, "secret": secret}
        process = sandbox.start(_PROGRAM, given, (mouth, secret), _ENVIRONMENT)
    except BaseException:
        os.close(ear)
        raise
    finally:
        for fd in (mouth, secret, hand):
            os.close(fd)
    yield from _frames(options["source"], process, ear, event, check)


def _frames(
    source: str, process: sandbox.Process, ear: int, event: Callable[[str], object], check: Check
) -> Iterator[Frame]:
    stream = _Stream(source, ear)
    try:
        said = stream.answer()
        if said is not None and "missing" in said:  # once: then it counts as nonsense
            missing = sandbox.printable(said["missing"], 1000)
            _log.warning("the decoder is not wholly confined: %s", missing)
            said = stream.answer()
        while True:
            if said is None:
                code = _ended(process)
                if sandbox.violated(code):
                    event("sandbox_violation")
                ending = sandbox.ending(code)
                raise EdgeguardError(f"{source}: its decoder was ended by {ending}")
            if "end" in said:
                return
            if said.get("lacks") in _LIBRARIES:
                raise ModuleNotFoundError(said["lacks"], name=said["lacks"])
            if "error" in said:
                if said.get("denied") is True:
                    event("sandbox_violation")
                raise EdgeguardError(sandbox.printable(said["error"], 1000))
            yield _frame(source, said, stream, check)
            said = stream.answer()
    finally:
        process.kill()
        process.wait()
        os.close(ear)


def _ended(process: sandbox.Process) -> int:
    """The exit code of a decoder that closed its pipe; one that lives on is killed."""
    late = threading.Timer(_ENDING_S, process.kill)
    late.start()
    try:
        return process.wait()
    finally:
        late.cancel()


class _Stream:
    def __init__(self, source: str, ear: int) -> None:
        self._source, self._ear, self._warned = source, ear, 0
        self._waiting = select.poll()
        self._waiting.register(ear, select.POLLIN)

    def answer(self) -> dict[str, Any] | None:
        """The next line that is no warning; a few of those are logged."""
        while (said := self.line()) is not None and "warning" in said:
            self._warned += 1
            if self._warned > _MOST_WARNINGS:
                raise _nonsense(self._source)
            _log.warning("%s", sandbox.printable(said["warning"], 1000))
        return said

    def line(self) -> dict[str, Any] | None:
        """What the decoder says next; None when it is gone."""
        head = self.read(_LENGTH.size)
        if head is None:
            return None
        (length,) = _LENGTH.unpack(head.data)
        text = self.read(length if length <= _MOST_TEXT else 0)
        if text is None:
            return None
        try:
            said = json.loads(text.tobytes())
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise _nonsense(self._source)
        return said

    def read(self, count: int) -> npt.NDArray[np.uint8] | None:
        """So many bytes; None when the decoder is gone before."""
        found = np.empty(count, np.uint8)  # not filled: that would hold up the interpreter
        view, end = found.data, time.monotonic() + SILENCE_S
        while view:
            if not self._waiting.poll(max(0.0, end - time.monotonic()) * 1e3):
                raise EdgeguardError(f"{self._source}: no frame for {SILENCE_S:g} s")
            got = os.readv(self._ear, [view])
            if got == 0:
                return None
            view = view[got:]
        return found


def _frame(source: str, said: dict[str, Any], stream: _Stream, check: Check) -> Frame:
    try:
        head = check(_head(said))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise _nonsense(source) from None
    pixels = stream.read(math.prod(head.shape))
    if pixels is None:
        raise EdgeguardError(f"{source}: its decoder ended in a frame")
    return Frame(pixels.reshape(head.shape), head.t_ns, head.box, head.signals)


def _head(said: dict[str, Any]) -> Head:
    shape = tuple(int(n) for n in said["shape"])
    if not 2 <= len(shape) <= 3 or min(shape) < 0 or math.prod(shape) > _MOST_BYTES:
        raise ValueError(shape)
    box: Box | None = None
    if said["box"] is not None:
        x, y, width, height = (int(n) for n in said["box"])
        box = x, y, width, height
    signals = {str(name): float(value) for name, value in dict(said["signals"]).items()}
    return Head(shape, int(said["t_ns"]), box, signals)


def _nonsense(source: str) -> EdgeguardError:
    return EdgeguardError(f"{source}: its decoder talks nonsense")


def main(options: dict[str, Any]) -> int:
    """The confined process. ``options``: ``source``, and ``rate_hz``, the number of a ``camera``
    with its ``size``, or nothing; the descriptors ``mouth``, and ``secret``, which holds the URL
    then."""
    source, mouth, clock = options["source"], options["mouth"], sandbox.Clock()
    need = sandbox.Need((), threads=True)
    _log.addHandler(_Told(mouth))
    try:
        need, frames = _opened(options)
        missing = sandbox.surprising(sandbox.confine(need) + sandbox.limit(need))
        if missing:
            _say(mouth, {"missing": missing})
        for frame in frames:
            image = frame.image
            _say(
                mouth,
                {
                    "shape": image.shape, "t_ns": frame.t_ns, "box": frame.box,
                    "signals": dict(frame.signals),
                },
                image.tobytes(),
            )  # fmt: skip
            clock.answered(time.process_time())
    except EdgeguardError as error:
        _say(mouth, {"error": str(error)[:1000], "denied": sandbox.denied(error, need)})
    except BrokenPipeError:
        return 0
    except Exception as error:  # OpenCV and numpy raise whatever they like over damaged files
        if isinstance(error, ModuleNotFoundError) and error.name in _LIBRARIES:
            _say(mouth, {"lacks": error.name})
            return 0
        what = str(error).partition("\n")[0][:500] or type(error).__name__
        text = f"{source}: cannot be decoded: {what}"
        _say(mouth, {"error": text, "denied": sandbox.denied(error, need)})
    else:
        _say(mouth, {"end": True})
    return 0


class _Told(logging.Handler):
    """In the confined process: what a source warns of, said to who logs it."""

    def __init__(self, mouth: int) -> None:
        super().__init__(logging.WARNING)
        self._mouth = mouth

    def emit(self, record: logging.LogRecord) -> None:
        """At once: the reader logs it before the next frame."""
        _say(self._mouth, {"warning": record.getMessage()[:1000]})


def _opened(options: dict[str, Any]) -> tuple[sandbox.Need, Iterator[Frame]]:
    """What the source needs, and its frames, of which none is read yet. Raises EdgeguardError."""
    source, number = options["source"], options.get("camera")
    url = os.read(options["secret"], _MOST_TEXT).decode()
    if number is not None:
        need = sandbox.Need((), device=_device(number), threads=True)
        return need, live(number, options["size"])
    if url:
        server, url = rtsp.resolved(url)
        sandbox.keep((options["mouth"],))  # who looks up names may keep sockets
        return sandbox.Need((), server=server, threads=True), rtsp.frames(url, source)
    path = Path(source).absolute()
    need = sandbox.Need((path,), whole=path.suffix == STREAM, threads=True)
    return need, _recorded(source, options["rate_hz"])


def _recorded(source: str, rate_hz: float) -> Iterator[Frame]:
    """Not opened before the first frame is wanted."""
    yield from recorded(source, rate_hz)


def _device(number: int) -> Path:
    """What OpenCV opens for a camera's number (Video4Linux)."""
    return Path(f"/dev/video{number}")


def _say(mouth: int, what: dict[str, Any], pixels: Any = b"") -> None:
    text = json.dumps(what).encode()
    for part in (_LENGTH.pack(len(text)) + text, pixels):
        view = memoryview(part)
        while view:
            view = view[os.write(mouth, view) :]
