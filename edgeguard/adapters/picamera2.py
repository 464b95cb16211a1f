# SPDX-License-Identifier: Apache-2.0
"""Frames of a Raspberry Pi's camera, through Picamera2."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from edgeguard.intake.sources import Frame


def frames(camera: Any, stream: str = "main") -> Iterator[Frame]:
    """Frames of a started Picamera2, stamped with the moment of their exposure.

    stream: which one of its configuration. Its format names the bytes of a word from the highest
    down: "RGB888" gives BGR, "XRGB8888" BGRA, as [camera.NAME] calls them. Blocks for frames, for
    ever if the camera hangs: the guard's FRAME_LOST is what notices.
    """
    while True:
        request = camera.capture_request()
        try:
            image = request.make_array(stream)
            taken_ns = request.get_metadata().get("SensorTimestamp")
        finally:
            request.release()
        yield Frame(image, _monotonic(taken_ns), None, {})


def _monotonic(taken_ns: int | None) -> int:
    """libcamera's stamps are of CLOCK_BOOTTIME, which also counts while the computer sleeps."""
    now_ns = time.monotonic_ns()
    if taken_ns is None:
        return now_ns
    slept_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now_ns
    return min(now_ns, taken_ns - slept_ns)
