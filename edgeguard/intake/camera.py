# SPDX-License-Identifier: Apache-2.0
"""One camera: a frame in, one tensor for each input spec of the members that look through it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.intake.preprocess import Health, InputSpec, Preprocessor

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]

_DEPTHS = {"BGR": 3, "RGB": 3, "BGRA": 4, "YUYV": 2}


class Camera:
    """Turns frames into the members' tensors; members with equal specs share one.

    The sensor health is computed once, in the pass of the first spec. Kernels are planned for the
    first frame's size and again when the size changes.
    """

    def __init__(self, specs: Mapping[InputSpec, Array], pixel_format: str = "BGR") -> None:
        """specs: each input spec with the tensor that its members read."""
        self._tensors = dict(specs)
        self._format = pixel_format
        self._shape: tuple[int, ...] | None = None
        self._kernels: list[tuple[Preprocessor, Array]] = []

    def look(self, frame: npt.NDArray[np.uint8], box: Box | None = None) -> Health:
        """Write every tensor from ``frame``, or from ``box`` = (x, y, width, height) of it.

        frame uint8, [H, W, 3] for BGR and RGB, [H, W, 4] for BGRA, [H, W] for GRAY, [H, W, 2] for
        YUYV, [H * 3 / 2, W] for NV12. Raises TypeError or ValueError, which say what is wrong.
        """
        if getattr(frame, "shape", None) != self._shape:
            self._plan(frame)
        health: Health | None = None
        for kernel, tensor in self._kernels:
            found = kernel.run(frame, tensor, box)
            health = health or found
        assert health is not None  # a camera without members has no kernels and is not asked
        return health

    def _plan(self, frame: npt.NDArray[np.uint8]) -> None:
        depth = _DEPTHS.get(self._format, 0)
        if not isinstance(frame, np.ndarray) or frame.ndim != (3 if depth else 2):
            raise ValueError(
                f"frame: want a uint8 array for {self._format}, got {type(frame).__name__} "
                f"of shape {getattr(frame, 'shape', None)}"
            )
        height, width = frame.shape[:2]
        if self._format == "NV12":
            height = height * 2 // 3
        self._kernels = [
            (Preprocessor(spec, height, width, self._format, statistics=i == 0), tensor)
            for i, (spec, tensor) in enumerate(self._tensors.items())
        ]
        self._shape = frame.shape
