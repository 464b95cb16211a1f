# SPDX-License-Identifier: Apache-2.0
"""Frames for the log, from the guard to the recorder's process, over a pipe that nobody waits for.

A frame is a length, a line of JSON, and the pixels as the camera gave them. Each that is due has a
number, so that the log shows which ones are missing.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import struct
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard import aside
from edgeguard.given import as_stamp
from edgeguard.output.writer import Writer

WAITING = 4  # frames, on either side of the pipe
CLOSE_S = 2.0
NEVER_NS = 2.0**62  # after the first one
ENCODINGS = {  # of foxglove.RawImage, by the format of a camera
    "BGR": "bgr8", "RGB": "rgb8", "BGRA": "bgra8", "GRAY": "mono8", "YUYV": "yuyv", "NV12": "nv12",
}  # fmt: skip
_LENGTH = struct.Struct("<I")

Box = tuple[int, int, int, int]


class Frames:
    """The guard's end. It copies a frame when one is due, and a thread writes it."""

    def __init__(self, most_hz: float) -> None:
        """most_hz: frames a second at most. Raises OSError when there is no pipe to be had."""
        self.ear, self._mouth = os.pipe2(os.O_CLOEXEC)
        """For the recorder; whoever starts it closes this."""
        self._period_ns = int(min(1e9 / most_hz, NEVER_NS))
        self._next_ns: int | None = None
        self._number = 0
        self._writer = Writer("frames", self._write, WAITING)

    def saw(
        self, camera: str, image: npt.NDArray[np.uint8], pixel_format: str, t_ns: int,
        box: Box | None = None,
    ) -> None:  # fmt: skip
        """Take a frame, uint8 in the camera's format, captured at ``t_ns``, if one is due. Raises
        ValueError for a stamp that is none, as `Guard.observe` does."""
        t_ns = as_stamp(t_ns)
        due_ns = self._next_ns
        if due_ns is not None and due_ns - self._period_ns <= t_ns < due_ns:
            return
        self._next_ns = t_ns + self._period_ns  # also after a clock that was set back
        height, width = image.shape[:2]
        said = {
            "t_ns": t_ns, "number": self._number, "frame_id": camera, "width": width,
            "height": height * 2 // 3 if pixel_format == "NV12" else height,
            "encoding": ENCODINGS[pixel_format], "step": int(np.prod(image.shape[1:])),
            "size": image.size, "box": None if box is None else [int(side) for side in box],
        }  # fmt: skip
        self._number += 1
        self._writer.put(said, image.tobytes())

    @property
    def crowded(self) -> bool:
        """Whether the next one may push another out."""
        return self._writer.failure is None and self._writer.waiting >= WAITING - 1

    def _write(self, said: dict[str, Any], pixels: bytes) -> None:
        try:
            self._send(said, pixels)
        except BrokenPipeError:  # the recorder is gone, which every decision says
            raise
        except Exception as error:
            aside.warn(f"recorder: no more frames are recorded: {error}")
            raise

    def _send(self, said: dict[str, Any], pixels: bytes) -> None:
        text = json.dumps(said).encode()
        for part in (_LENGTH.pack(len(text)) + text, pixels):
            left = memoryview(part)
            while left:
                left = left[os.write(self._mouth, left) :]

    def close(self) -> None:
        """No more will come. A recorder that reads nothing keeps its end of a frame."""
        if self._writer.close(CLOSE_S):  # else it may be writing: the number must not be reused
            os.close(self._mouth)


class Reader:
    """The recorder's end: a thread of its own, so that a slow frame holds up no record."""

    def __init__(self, ear: int) -> None:
        self._ear = ear
        self._found = queue.Queue[tuple[int, bytes]](WAITING)
        self._thread = threading.Thread(target=self._read, name="frames", daemon=True)
        self._thread.start()

    def take(self) -> tuple[int, bytes] | None:
        """Time and message of the next frame that has arrived, if one has."""
        try:
            return self._found.get_nowait()
        except queue.Empty:
            return None

    @property
    def ended(self) -> bool:
        """Whether no more will come: the guard has closed its end, or is gone."""
        return not self._thread.is_alive() and self._found.empty()

    def _read(self) -> None:
        while (head := self._exactly(_LENGTH.size)) is not None:
            text = self._exactly(_LENGTH.unpack(head)[0])
            said = json.loads(text) if text is not None else {"size": 0}
            pixels = self._exactly(said.pop("size"))
            if text is None or pixels is None:  # the guard died in a frame
                return
            self._found.put(_message(said, pixels))

    def _exactly(self, count: int) -> bytes | None:
        parts = []
        while count:
            part = os.read(self._ear, min(count, 1 << 20))
            if not part:
                return None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def _message(said: dict[str, Any], pixels: bytes) -> tuple[int, bytes]:
    """As foxglove.RawImage in JSON."""
    t_ns = max(said["t_ns"], 0)
    sec, nsec = divmod(t_ns, 1_000_000_000)
    said |= {"timestamp": {"sec": sec, "nsec": nsec}, "data": base64.b64encode(pixels).decode()}
    return t_ns, json.dumps(said, separators=(",", ":")).encode()
