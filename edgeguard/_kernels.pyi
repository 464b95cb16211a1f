# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

class _Enum:
    @property
    def name(self) -> str: ...
    __members__: dict[str, Any]

class Format(_Enum): ...
class Colour(_Enum): ...
class Dtype(_Enum): ...
class Layout(_Enum): ...
class Fit(_Enum): ...
class Resize(_Enum): ...
class Variant(_Enum): ...

class Health:
    """Sensor health of one frame, over the pixels that were read."""

    @property
    def mean(self) -> float: ...
    @property
    def variance(self) -> float: ...
    @property
    def features(self) -> tuple[float, float, float, float, float]: ...
    @property
    def black(self) -> float: ...
    @property
    def saturated(self) -> float: ...
    @property
    def sharpness(self) -> float: ...
    @property
    def share_read(self) -> float: ...
    @property
    def content_hash(self) -> int: ...
    @property
    def pixels(self) -> int: ...
    @property
    def pairs(self) -> int: ...
    @property
    def luma_sum(self) -> int: ...
    @property
    def luma_squared_sum(self) -> int: ...
    @property
    def gradient_sum(self) -> int: ...
    @property
    def black_count(self) -> int: ...
    @property
    def saturated_count(self) -> int: ...

class Spec:
    def __init__(
        self,
        *,
        height: int,
        width: int,
        layout: Layout,
        dtype: Dtype,
        colour: Colour,
        fit: Fit,
        resize: Resize,
        pad: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        scale: float,
        zero_point: int,
    ) -> None: ...

class Preprocessor:
    def __init__(
        self,
        spec: Spec,
        height: int,
        width: int,
        format: Format,
        variant: Variant,
        statistics: bool,
    ) -> None: ...
    def run(
        self,
        frame: Bytes,
        out: npt.NDArray[Any],
        box: tuple[int, int, int, int] | None,
        health: Health,
    ) -> Health: ...
    def limit(
        self, frame: Bytes, out: npt.NDArray[Any], box: tuple[int, int, int, int] | None
    ) -> int: ...
    @property
    def variant(self) -> str: ...

def available(variant: Variant) -> bool: ...
def squeeze_depth(image: Bytes, out: Bytes, bits: int) -> None: ...
def squeeze_median2(image: Bytes, out: Bytes) -> None: ...
def squeeze_median3(image: Bytes, out: Bytes) -> None: ...

MIN_TEMPERATURE: float
MAX_TEMPERATURE: float

def embedding_batch(
    embeddings: npt.NDArray[Any], fit: dict[str, Any], energy: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]: ...
def evidence_batch(
    scores: npt.NDArray[Any],
    *,
    kind: str = ...,
    scale: float = ...,
    zero_point: int = ...,
    temperature: float = ...,
    value_min: float = ...,
    value_max: float = ...,
) -> npt.NDArray[Any]: ...
