# SPDX-License-Identifier: Apache-2.0
"""A camera through which nobody here looks still takes nothing but frames."""

from __future__ import annotations

import numpy as np
import pytest

from edgeguard.intake.camera import Camera

FRAME = np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    "wrong",
    [
        FRAME.astype(np.float64), FRAME.astype("U3"), FRAME.astype(object), FRAME[..., :2],
        FRAME[0], FRAME[0, 0, 0], np.zeros((4, 6, 7), np.uint8), FRAME.tolist(), None,
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", [None, FRAME])
def test_what_is_no_frame_is_refused(wrong: object, before: object) -> None:
    camera = Camera({})
    if before is not None:
        camera.look(FRAME)
    with pytest.raises((TypeError, ValueError), match="frame: want"):
        camera.look(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pixels", "shape"),
    [("BGR", (4, 6, 3)), ("BGRA", (4, 6, 4)), ("GRAY", (4, 6)), ("YUYV", (4, 6, 2)),
     ("NV12", (6, 6))],
)  # fmt: skip
def test_what_is_one_is_taken(pixels: str, shape: tuple[int, ...]) -> None:
    assert Camera({}, pixels).look(np.zeros(shape, np.uint8))[0] is None
