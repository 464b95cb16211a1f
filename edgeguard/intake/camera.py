# SPDX-License-Identifier: Apache-2.0
"""One camera: a frame in, one tensor for each input spec of the members that look through it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
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
        self._kernels: list[tuple[Callable[..., Health], Array, Health]] = []
        self._health: Health | None = None  # of the first spec: the others keep no statistics

    def look(
        self, frame: npt.NDArray[np.uint8], box: Box | None = None
    ) -> tuple[Health | None, int, int]:
        """Write every tensor from ``frame``, or from ``box`` = (x, y, width, height) of it.

        Returns what the decision core hears of it: the health of the pixels that were read (None
        where nobody looks; the next call fills the same record anew); a hash of a sparse sample of
        the whole frame, still the same when only the box moves; one of the box.

        frame uint8, [H, W, 3] for BGR and RGB, [H, W, 4] for BGRA, [H, W] for GRAY, [H, W, 2] for
        YUYV, [H * 3 / 2, W] for NV12. Raises TypeError or ValueError, which say what is wrong.
        """
        if self._shape is None or getattr(frame, "shape", None) != self._shape:
            self._plan(frame)
        for run, tensor, health in self._kernels:
            run(frame, tensor, box, health)
        if self._health is None:  # no kernel has looked at it, either
            if frame.dtype != np.uint8:
                raise TypeError(f"frame: want uint8, got {frame.dtype}")
            return None, _sample(frame), 0
        if box is None:  # everything was looked at: the content is the scene
            return self._health, 0, 0
        return self._health, _sample(frame), hash(tuple(box)) & 0xFFFFFFFF

    def tensor(self, spec: InputSpec) -> Array:
        """Where ``look`` writes this spec's tensor."""
        return self._tensors[spec]

    def aim(self, spec: InputSpec, tensor: Array) -> None:
        """Have ``look`` write this spec's tensor there; it is like the one before."""
        if self._tensors[spec] is tensor:
            return
        self._tensors[spec] = tensor
        if self._kernels:
            index = list(self._tensors).index(spec)
            run, _, health = self._kernels[index]
            self._kernels[index] = run, tensor, health

    def _plan(self, frame: npt.NDArray[np.uint8]) -> None:
        depth = _DEPTHS.get(self._format, 0)
        shape = getattr(frame, "shape", None)
        fits = isinstance(frame, np.ndarray) and frame.ndim == (3 if depth else 2)
        if not fits or frame.shape[2:] != (depth,) * bool(depth):
            raise ValueError(
                f"frame: want a uint8 array for {self._format}, got {type(frame).__name__} "
                f"of shape {shape}"
            )
        height, width = frame.shape[:2]
        if self._format == "NV12":
            height = height * 2 // 3
        self._kernels = [
            (
                Preprocessor(spec, height, width, self._format, statistics=i == 0).run,
                tensor,
                Health(),
            )
            for i, (spec, tensor) in enumerate(self._tensors.items())
        ]
        self._health = self._kernels[0][2] if self._kernels else None
        self._shape = frame.shape


def _sample(frame: npt.NDArray[np.uint8]) -> int:
    """CRC-32 of about 16 by 16 pixels spread over the frame; a live sensor's noise changes them."""
    rows, columns = max(1, frame.shape[0] // 16), max(1, frame.shape[1] // 16)
    return zlib.crc32(frame[::rows, ::columns].tobytes())
