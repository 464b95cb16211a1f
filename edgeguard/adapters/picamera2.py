# SPDX-License-Identifier: Apache-2.0
"""Frames of a Raspberry Pi's camera, through Picamera2."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from edgeguard.errors import EdgeguardError
from edgeguard.intake.sources import Frame

FORMATS = {"BGR": "RGB888", "RGB": "BGR888", "BGRA": "XRGB8888", "YUYV": "YUYV"}
"""libcamera's names by ours: those name the bytes of a word from the highest down."""


def frames(camera: Any, stream: str = "main", pixels: str = "BGR") -> Iterator[Frame]:
    """Frames of a started Picamera2, stamped with the moment of their exposure.

    stream: which one of its configuration; pixels: the format of [camera.NAME], BGR, RGB, BGRA or
    YUYV. Blocks for frames, for ever if the camera hangs: the guard's FRAME_LOST is what notices.
    Raises EdgeguardError when the stream is not there or has another format: its frames could have
    the same shape.
    """
    _check(camera, stream, pixels)
    while True:
        request = camera.capture_request()
        try:
            image = request.make_array(stream)
            taken_ns = request.get_metadata().get("SensorTimestamp")
        finally:
            request.release()
        yield Frame(image, _monotonic(taken_ns), None, {})


def _check(camera: Any, stream: str, pixels: str) -> None:
    if pixels not in FORMATS:
        raise EdgeguardError(f"picamera2: {pixels}: want one of {', '.join(FORMATS)}")
    configured = (camera.camera_configuration() or {}).get(stream)
    if configured is None:
        raise EdgeguardError(f"picamera2: {stream}: the camera has no such stream")
    if configured["format"] != FORMATS[pixels]:
        raise EdgeguardError(
            f"picamera2: {stream}: is {configured['format']}; configure {FORMATS[pixels]}, which is"
            f" {pixels} here"
        )


def _monotonic(taken_ns: int | None) -> int:
    """libcamera's stamps are of CLOCK_BOOTTIME, which also counts while the computer sleeps."""
    now_ns = time.monotonic_ns()
    if taken_ns is None:
        return now_ns
    slept_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now_ns
    return min(now_ns, taken_ns - slept_ns)
