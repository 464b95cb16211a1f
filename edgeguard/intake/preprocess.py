# SPDX-License-Identifier: Apache-2.0
"""From a camera frame to a model's tensor in one native pass, with the sensor's health."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeguard import _kernels
from edgeguard._kernels import Health

if TYPE_CHECKING:
    from edgeguard.card import Input

__all__ = ["Health", "InputSpec", "Preprocessor"]

Frame = npt.NDArray[np.uint8]
Tensor = npt.NDArray[Any]
Box = tuple[int, int, int, int]

# Names a variant of the kernels for every Preprocessor of the process: scalar, avx2, neon.
VARIANT = "EDGEGUARD_KERNELS"


@dataclass(frozen=True)
class InputSpec:
    """What a model's input tensor holds. Members with equal specs share one tensor.

    A pixel p of 0..255 becomes real = (p / 255 - mean) / std, channels in the order of ``colour``;
    an int8 or uint8 tensor holds real / scale + zero_point, rounded half to even and saturated.
    ``fit`` says how the box meets the tensor: stretch it, letterbox it (border of grey level
    ``pad``, sizes rounded down as OpenCV does) or crop its centre. ``resize`` is bilinear (as
    cv2.INTER_LINEAR: quick, reads four pixels for each of the tensor's, so it aliases when it
    shrinks by more than two) or area (exact box filter, reads every pixel).
    """

    height: int
    width: int
    layout: str = "CHW"
    dtype: str = "float32"
    colour: str = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1.0
    zero_point: int = 0
    fit: str = "stretch"
    resize: str = "area"
    pad: int = 0

    @classmethod
    def of(cls, card_input: Input) -> InputSpec:
        """The spec of a card's ``input``; raises ValueError for a VECTOR, which is no picture."""
        if card_input.layout == "VECTOR":
            raise ValueError("a VECTOR input takes no camera frame; feed it with suggest()")
        height, width = card_input.size
        is_float = card_input.dtype == "float32"
        return cls(
            height=height,
            width=width,
            layout=card_input.layout,
            dtype=card_input.dtype,
            colour=card_input.colour,
            mean=tuple(card_input.mean),
            std=tuple(card_input.std),
            scale=1.0 if is_float else card_input.scale,
            zero_point=0 if is_float else card_input.zero_point,
            fit=card_input.fit,
            resize=card_input.resize,
        )

    @property
    def channels(self) -> int:
        """1 for GRAY, else 3."""
        return 1 if self.colour == "GRAY" else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor with its batch of one."""
        if self.layout == "CHW":
            return (1, self.channels, self.height, self.width)
        return (1, self.height, self.width, self.channels)

    def empty(self) -> Tensor:
        """A new tensor to run into."""
        return np.empty(self.shape, dtype=self.dtype)

    def native(self) -> _kernels.Spec:
        """The spec as the kernels take it; raises ValueError that names the wrong field."""
        return _kernels.Spec(
            height=self.height,
            width=self.width,
            layout=_choice(_kernels.Layout, "layout", self.layout),
            dtype=_choice(_kernels.Dtype, "dtype", self.dtype),
            colour=_choice(_kernels.Colour, "colour", self.colour),
            fit=_choice(_kernels.Fit, "fit", self.fit),
            resize=_choice(_kernels.Resize, "resize", self.resize),
            pad=self.pad,
            mean=self._three("mean", self.mean),
            std=self._three("std", self.std),
            scale=self.scale,
            zero_point=self.zero_point,
        )

    def _three(self, name: str, values: tuple[float, ...]) -> tuple[float, float, float]:
        if len(values) != self.channels and len(set(values)) != 1:
            raise ValueError(f"{name} has {len(values)} values for {self.channels} channels")
        first, second, third = values if len(values) == 3 else values[:1] * 3
        return first, second, third


class Preprocessor:
    """A plan for frames of one size and format; ``run`` moves pixels and allocates no memory.

    Not for two threads at once (RuntimeError); each camera has its own.
    """

    def __init__(
        self,
        spec: InputSpec,
        height: int,
        width: int,
        frame_format: str = "BGR",
        *,
        statistics: bool = True,
        variant: str | None = None,
    ) -> None:
        """frame_format BGR, RGB, BGRA, GRAY, YUYV or NV12 (BT.601, limited range).

        variant: scalar, avx2 or neon instead of the best that the CPU has. Formats and models that
        no SIMD unit covers run the scalar reference, as ``variant`` then tells. Raises ValueError.
        """
        self.spec = spec
        name = variant or os.environ.get(VARIANT) or "auto"
        self._native = _kernels.Preprocessor(
            spec.native(),
            height,
            width,
            _choice(_kernels.Format, "frame_format", frame_format),
            _choice(_kernels.Variant, "variant", name),
            statistics,
        )

    @property
    def variant(self) -> str:
        """The variant that really ran last, or would run for the whole frame."""
        return self._native.variant

    def run(
        self, frame: Frame, out: Tensor, box: Box | None = None, health: Health | None = None
    ) -> Health:
        """Write ``frame``, or ``box`` = (x, y, width, height) of it, to the tensor ``out``.

        frame uint8 [H, W, 3] for BGR and RGB, [H, W, 4] for BGRA, [H, W] for GRAY, [H, W, 2] for
        YUYV, [H * 3 / 2, W] for NV12; rows may have any stride. out as ``spec.shape``, with or
        without its batch of one. The record is ``health``, filled anew, or else a new one; without
        statistics it is empty but for ``share_read``. A box outside the frame is refused, never
        clipped. Raises TypeError or ValueError that say what is wrong, before anything is written.
        """
        return self._native.run(frame, out, box, Health() if health is None else health)

    def limit(self, frame: Frame, out: Tensor, box: Box | None = None) -> None:
        """The floor of the same work, for benchmarks: read the touched rows, fill the tensor."""
        self._native.limit(frame, out, box)


def _choice(kind: Any, field: str, name: str) -> Any:
    found = kind.__members__.get(name)
    if found is None:
        known = ", ".join(kind.__members__)
        raise ValueError(f"{field} is {name!r}; use one of {known}")
    return found
