# SPDX-License-Identifier: Apache-2.0
"""What a model file says about its inputs and outputs, and whether its card says the same."""

from __future__ import annotations

import math

import attrs

from edgeguard.card import Card
from edgeguard.errors import ModelRefused

UNKNOWN = -1
DETECTION = "edgeguard guards classifiers and continuous outputs, not detection heads"


@attrs.frozen
class TensorSpec:
    """One input or output as the file states it.

    ``shape`` has -1 where the file leaves a dimension open; ``scale`` is 0 for a tensor without
    quantization; ``softmax`` says that the values come straight from a softmax.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0
    softmax: bool = False

    @property
    def size(self) -> int:
        """Values in one answer, the batch taken as one; -1 when the file leaves it open."""
        rest = self.shape[1:] if len(self.shape) > 1 else self.shape
        return UNKNOWN if UNKNOWN in rest else math.prod(rest)


@attrs.frozen
class FileSpec:
    """All inputs and outputs of a model file, in its order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def detection_head(outputs: tuple[TensorSpec, ...]) -> str | None:
    """Why these outputs are boxes or maps and not scores, as a sentence; None when they are not.

    Boxes: an output of rank 3 with two open or larger dimensions ([1, N, 4], [1, 84, N], ...), or
    an [N, 4] beside lists of scores. Maps: an output of rank 4 or more with two such dimensions.
    """
    for output in outputs:
        wide = [d for d in output.shape[1:] if d != 1]
        if len(output.shape) >= 3 and len(wide) >= 2:
            what = "boxes" if len(output.shape) == 3 else "a map"
            return f"output {output.name!r} {list(output.shape)} holds {what}; {DETECTION}"
    open_boxes = [o for o in outputs if len(o.shape) == 2 and o.shape[0] != 1 and o.shape[1] == 4]
    if open_boxes and any(len(o.shape) == 1 for o in outputs):
        return f"output {open_boxes[0].name!r} {list(open_boxes[0].shape)} holds boxes; {DETECTION}"
    return None


def agree(card: Card, spec: FileSpec, where: str) -> tuple[TensorSpec, TensorSpec | None]:
    """Compare a card with its file; return the file's scores and embedding.

    Raises ModelRefused that names the first key of the card that the file contradicts, with both
    values.
    """
    if len(spec.inputs) != 1:
        names = ", ".join(repr(i.name) for i in spec.inputs)
        raise ModelRefused(
            f"{where}: has {len(spec.inputs)} inputs ({names}); one input is supported"
        )
    embedding = card.embedding
    head = detection_head(
        tuple(o for o in spec.outputs if embedding is None or o.name != embedding.name)
    )
    if head:
        raise ModelRefused(f"{where}: {head}")
    _agree_input(card, spec.inputs[0], where)
    found = [_agree_output(card, index, spec, where) for index in range(len(card.outputs))]
    by_kind = dict(zip((o.kind == "embedding" for o in card.outputs), found, strict=True))
    return by_kind[False], by_kind.get(True)


def _agree_input(card: Card, got: TensorSpec, where: str) -> None:
    want = card.input
    _same(where, "input.dtype", want.dtype, got.dtype)
    if len(got.shape) != len(want.shape) or any(
        g not in (UNKNOWN, w) for g, w in zip(got.shape, want.shape, strict=True)
    ):
        _same(where, "input.layout and input.size", list(want.shape), list(got.shape))
    if want.dtype != "float32":
        _same_quantization(where, "input", (want.scale, want.zero_point), got)


def _agree_output(card: Card, index: int, spec: FileSpec, where: str) -> TensorSpec:
    want, key = card.outputs[index], f"outputs[{index}]"
    got = next((o for o in spec.outputs if o.name == want.name), None)
    if got is None:
        names = ", ".join(repr(o.name) for o in spec.outputs)
        raise ModelRefused(
            f"{where}: {key}.name: the card says {want.name!r}, the file has {names}"
        )
    _same(where, f"{key}.dtype", want.dtype, got.dtype)
    if got.size != UNKNOWN:
        _same(where, f"{key}.size", want.size, got.size)
    if want.dtype != "float32" or want.scale > 0:
        _same_quantization(where, key, (want.scale, want.zero_point), got)
    return got


def _same_quantization(where: str, key: str, want: tuple[float, int], got: TensorSpec) -> None:
    if got.scale <= 0:
        raise ModelRefused(
            f"{where}: {key}.scale: the card says {want[0]:.9g}, the file states no quantization"
        )
    if not math.isclose(want[0], got.scale, rel_tol=1e-6):
        _same(where, f"{key}.scale", f"{want[0]:.9g}", f"{got.scale:.9g}")
    _same(where, f"{key}.zero_point", want[1], got.zero_point)


def _same(where: str, key: str, want: object, got: object) -> None:
    if want != got:
        raise ModelRefused(f"{where}: {key}: the card says {want}, the file says {got}")
