# SPDX-License-Identifier: Apache-2.0
"""8-bit pictures as input integers of a net, and boxes of pictures as boxes of integers.

A pixel enters as (p / 255 - mean) / std and is then quantized, as the runtime's card says. The
guard folds this into one product and one sum, which rounds some ties otherwise than the formula
does step by step; so the integer of each grey level is asked of the guard's own preprocessing. It
is monotone for each channel, so the box of all 8-bit pictures within a radius becomes a box.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgeguard.card import Input
from edgeguard.errors import ConfigError, EdgeguardError
from edgeguard.lab.cards import grey_levels
from edgeguard.lab.verification.net import Net
from edgeguard.lab.verification.read import card_of

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pixels:
    """How pictures uint8 [N, H, W, C] become what a net takes: table float64 [C, 256] holds the
    integer of each grey level in each of its channels."""

    net: Net
    table: Tensor
    layout: str = "CHW"
    swap: bool = False  # the net takes BGR

    @classmethod
    def of(cls, net: Net) -> Pixels:
        """By the card beside the file, or p / 255 in the layout that the shape shows."""
        path = Path(net.source)
        card = card_of(path)
        if card is not None:
            _check(net, card.input)
            made = torch.from_numpy(grey_levels(card.input))
            table = net.input.steps(made) if net.real_input else made.double()
            return cls(net, table, card.input.layout, card.input.colour == "BGR")
        if len(net.shape) != 3 or (net.shape[0] in (1, 3)) == (net.shape[2] in (1, 3)):
            raise EdgeguardError(
                f"{path}: its input {list(net.shape)} is no picture [C, H, W] or [H, W, C]; "
                "give --properties with boxes of numbers"
            )
        if not net.real_input and net.input.scale == 1.0 and net.input.zero == 0:
            raise EdgeguardError(f"{path}: no scale is known for its integer input")
        layout, channels = ("CHW", 0) if net.shape[0] in (1, 3) else ("HWC", 2)
        share = torch.arange(256, dtype=torch.float32) / 255
        return cls(net, net.input.steps(share).expand(net.shape[channels], -1), layout)

    @property
    def size(self) -> tuple[int, ...]:
        """[H, W, C] of a picture."""
        shape = self.net.shape
        return shape if self.layout == "HWC" else (*shape[1:], shape[0])

    def fit(self, name: str, pictures: U8) -> None:
        """Raises ConfigError that begins with the name for pictures of another size."""
        if pictures.shape[1:] != self.size:
            wanted = ", ".join(str(n) for n in self.size)
            raise ConfigError(
                f"{name}: x is {list(pictures.shape)}; want [N, {wanted}], which "
                f"{self.net.source} takes"
            )

    def integers(self, pictures: U8) -> Tensor:
        """Input integers float64 [N, *shape] of pictures that fit."""
        order = pictures[..., ::-1] if self.swap else pictures
        made = self.table.numpy()[np.arange(self.size[-1]), order]
        made = made if self.layout == "HWC" else made.transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(made))

    def box(self, pictures: U8, radius: int) -> tuple[Tensor, Tensor]:
        """Ends of all pictures that differ by at most ``radius`` grey levels in every pixel."""
        wide = pictures.astype(np.int16)
        low, high = ((wide + r).clip(0, 255).astype(np.uint8) for r in (-radius, radius))
        return self.integers(low), self.integers(high)


def _check(net: Net, entry: Input) -> None:
    """Raises EdgeguardError where a card is about no picture, or about another input."""
    if entry.layout == "VECTOR":
        raise EdgeguardError(
            f"{net.source}: its card says that it takes no picture (layout VECTOR); give "
            "--properties with boxes of numbers"
        )
    takes = "float32" if net.real_input else "int8" if net.input.low < 0 else "uint8"
    if (entry.dtype, entry.shape[1:]) != (takes, net.shape):
        raise EdgeguardError(
            f"{net.source}: takes {takes} {list(net.shape)}, its card says {entry.dtype} "
            f"{list(entry.shape[1:])}; write a new card with `edgeguard init`"
        )
