# SPDX-License-Identifier: Apache-2.0
"""What is attacked: a deployed file with its preprocessing, differentiable and as it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgeguard.card import Card, Input
from edgeguard.errors import EdgeguardError, ModelRefused
from edgeguard.inference.model import inspect_model, read_model
from edgeguard.inference.quantization import TensorSpec, agree
from edgeguard.lab.attacks.threat import LEVELS
from edgeguard.lab.cards import grey_levels
from edgeguard.lab.surrogate import Answer, Surrogate, agrees, deployed, require
from edgeguard.lab.surrogate_layers import Affine, Quantize, rounded

U8 = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Target(Protocol):
    """What attacks need to know of a victim."""

    def scores(self, x: Tensor) -> Tensor:
        """Scores [N, n] of images [N, C, H, W] in [0, 1]; differentiable."""

    def labels(self, pixels: U8) -> Ints:
        """What the deployed model says to pictures uint8 [N, C, H, W], [N]."""


class Reals:
    """From a picture RGB in [0, 1] to what a card calls real: channels in the order of its colour,
    each less its mean, over its std. Without a card the picture itself."""

    def __init__(self, entry: Input | None) -> None:
        self._bgr = entry is not None and entry.colour == "BGR"
        mean, std = ((0.0,), (1.0,)) if entry is None else (entry.mean, entry.std)
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1) for values in (mean, std)
        )

    def __call__(self, x: Tensor) -> Tensor:
        """float32 [N, C, H, W]."""
        return (self.ordered(x) - self._mean) / self._std

    def ordered(self, x: Tensor) -> Tensor:
        """Channels as the file has them."""
        return x.flip(1) if self._bgr else x


class _Read(torch.autograd.Function):
    """What was read off a table; the gradient is that of what is near it."""

    @staticmethod
    def forward(ctx: Any, near: Tensor, exact: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


class Pixels:
    """From a picture in [0, 1] to what a file takes: rounded to 8 bits, then as the guard's own
    preprocessing makes it, value by value; the gradient is that of the card's formula.

    Without a card an 8-bit input takes the pixel itself: p as uint8, p - 128 as int8.
    """

    def __init__(self, spec: TensorSpec, entry: Input | None) -> None:
        """Raises ModelRefused for a float input without a card: nobody says what it holds; and for
        one that is no picture."""
        if entry is None and spec.dtype not in ("int8", "uint8"):
            raise ModelRefused(
                f"input {spec.name!r} is {spec.dtype}: write a card with `edgeguard init`"
            )
        if entry is not None and entry.layout == "VECTOR":
            raise ModelRefused(f"input {spec.name!r} is a VECTOR by its card: it takes no picture")
        self.dtype = spec.dtype
        self.hwc = spec.shape[-1] in (1, 3) if entry is None else entry.layout == "HWC"
        self._real = Reals(entry)
        self._zero = 0 if spec.dtype == "uint8" else -128
        self._table = (
            None
            if entry is None or _is_direct(entry, self._zero)
            else torch.from_numpy(grey_levels(entry))
        )
        if self._table is not None:
            low, high = (0, 255) if spec.dtype == "uint8" else (-128, 127)
            self._quantize = None if spec.dtype == "float32" else Quantize(
                Affine(entry.scale, entry.zero_point, low, high)
            )  # fmt: skip

    def __call__(self, x: Tensor) -> Tensor:
        """The file's input, float32; the gradient passes the rounding unchanged."""
        pixels = rounded(x * LEVELS)
        if self._table is None:
            made = self._real.ordered(pixels) + self._zero
        else:
            near = self._real(pixels / LEVELS)
            near = near if self._quantize is None else self._quantize(near)
            levels = self._real.ordered(pixels.detach()).clamp(0, LEVELS).long()
            channels = torch.arange(levels.shape[1])[:, None, None]
            made = _Read.apply(near, self._table[channels, levels])
        return made.permute(0, 2, 3, 1) if self.hwc else made

    def array(self, pixels: U8) -> npt.NDArray[Any]:
        """The same in the file's dtype, for its runtime."""
        x = torch.from_numpy(pixels.astype(np.float32) / np.float32(LEVELS))
        return np.ascontiguousarray(self(x).numpy().astype(self.dtype))


def _is_direct(entry: Input, zero: int) -> bool:
    """Whether the card's formula is p + zero."""
    plain = set(entry.mean) == {0.0} and set(entry.std) == {1.0}
    scale = abs(entry.scale * LEVELS - 1) < 1e-6
    return entry.dtype != "float32" and plain and scale and entry.zero_point == zero


def hold(path: Path, card: Card) -> None:
    """A file to its card, as the guard does before it runs one: hash, shapes, quantization. Raises
    ModelRefused: an attack would say nothing of what the card describes."""
    read_model(card, path)
    agree(card, inspect_model(path), str(path))


class Victim:
    """A deployed file: `scores` through its surrogate, `labels` by its own runtime.

    There is none whose surrogate disagrees with the file (E2).
    """

    def __init__(self, path: str | Path, pixels: U8, card: Card | None = None) -> None:
        """pixels: pictures uint8 [N, C, H, W] to hold the surrogate against the file on.

        Raises SurrogateDisagrees, ModelRefused, or EdgeguardError for pictures of another size.
        """
        self.path, self.card = Path(path), card
        self.surrogate = Surrogate.load(path)
        spec = self.surrogate.spec
        self.pixels = Pixels(spec.inputs[0], None if card is None else card.input)
        self._fits(pixels)
        self._answer: Answer = deployed(path)
        self.output = self.surrogate.index(None if card is None else card.scores.name)
        self._spec = spec.outputs[self.output]
        self.agreement = agrees(
            self.surrogate, self._answer, self.pixels.array(pixels), self.output
        )
        require(self.agreement)

    def _fits(self, pixels: U8) -> None:
        shape = self.surrogate.spec.inputs[0].shape[1:]
        wanted = [*shape[-1:], *shape[:-1]] if self.pixels.hwc else list(shape)
        if list(pixels.shape[1:]) != wanted:
            raise EdgeguardError(
                f"{self.path}: takes pictures of shape {wanted} (channels, height, width), not "
                f"{list(pixels.shape[1:])}; resize them first"
            )

    @property
    def classes(self) -> int:
        """How many scores it gives."""
        return int(self._spec.shape[-1])

    def scores(self, x: Tensor) -> Tensor:
        """Scores as numbers [N, n], before a softmax; of the picture in 8 bits."""
        return self.surrogate.scores(self.pixels(x), self._spec.name)

    def answers(self, pixels: U8) -> Floats:
        """Scores as numbers [N, n] from the runtime."""
        raw = self.raw(self.pixels.array(pixels)).astype(np.float32)
        if self._spec.dtype == "float32":
            return raw
        return (raw - self._spec.zero_point) * np.float32(self._spec.scale)

    def raw(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Scores as the file gives them for an input that is ready, [N, n]."""
        return self._answer(tensor)[self.output]

    def labels(self, pixels: U8) -> Ints:
        """The largest score, [N]."""
        return np.asarray(self.answers(pixels).argmax(1), np.int64)


class FloatVictim:
    """A float twin as the attacker's model: no rounding anywhere. `labels` are its own."""

    def __init__(self, path: Path, card: Card | None = None) -> None:
        """card: of the quantized file, whose preprocessing is the twin's, channels first.

        Raises ModelRefused for an operator that is not known, or a file that is no ONNX."""
        from google.protobuf.message import DecodeError

        from edgeguard.lab.zoo.onnx_torch import OnnxNet

        self.path = path
        self._real = Reals(None if card is None else card.input)
        try:
            self._net = OnnxNet(path)
        except (ValueError, StopIteration, DecodeError) as error:
            raise ModelRefused(f"{path}: is no float twin that the lab can read: {error}") from None

    def scores(self, x: Tensor) -> Tensor:
        """Scores [N, n] of images in [0, 1]."""
        try:
            return self._net.scores(self._real(x))
        except ValueError as error:  # a setting of an operator that is not known
            raise ModelRefused(f"{self.path}: as the attacker's float twin: {error}") from None

    def labels(self, pixels: U8) -> Ints:
        """The largest score, [N]."""
        with torch.no_grad():
            return np.asarray(self.scores(images(pixels)).argmax(1).numpy(), np.int64)


class Counted:
    """A black box that counts its answers, image by image."""

    def __init__(self, ask: Callable[[U8], Any], n: int) -> None:
        self._ask = ask
        self.queries = np.zeros(n, np.int64)

    def __call__(self, x: Tensor, rows: Tensor) -> Any:
        """Answers to images [M, C, H, W] in [0, 1], as 8-bit pictures; rows [M]: whose they are."""
        np.add.at(self.queries, rows.numpy(), 1)
        return self._ask(to_pixels(x))


def images(pixels: U8) -> Tensor:
    """Pictures as float32 in [0, 1]."""
    return torch.from_numpy(pixels.astype(np.float32) / np.float32(LEVELS))


def to_pixels(x: Tensor) -> U8:
    """Images as pictures, rounded to 8 bits."""
    return np.asarray((x * LEVELS).round().clamp(0, LEVELS).to(torch.uint8).numpy())
