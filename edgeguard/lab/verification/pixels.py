# SPDX-License-Identifier: Apache-2.0
"""8-bit pictures as input integers of a net, and boxes of pictures as boxes of integers.

A pixel enters as (p / 255 - mean) / std and is then quantized, as the runtime's card says. Both are
monotone for each channel, so the box of all 8-bit pictures within a radius becomes a box.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgeguard.errors import EdgeguardError
from edgeguard.lab.verification.net import Net
from edgeguard.lab.verification.read import card_of

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pixels:
    """How pictures uint8 [N, H, W, C] become what a net takes."""

    net: Net
    layout: str = "CHW"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    swap: bool = False  # the net takes BGR

    @classmethod
    def of(cls, net: Net) -> Pixels:
        """By the card beside the file, or p / 255 in the layout that the shape shows."""
        path = Path(net.source)
        card = card_of(path)
        if card is not None:
            entry = card.input
            return cls(net, entry.layout, entry.mean, entry.std, entry.colour == "BGR")
        if len(net.shape) != 3 or (net.shape[0] in (1, 3)) == (net.shape[2] in (1, 3)):
            raise EdgeguardError(
                f"{path}: its input {list(net.shape)} is no picture [C, H, W] or [H, W, C]; "
                "give --properties with boxes of numbers"
            )
        return cls(net, "CHW" if net.shape[0] in (1, 3) else "HWC")

    def integers(self, pictures: U8) -> Tensor:
        """Input integers float64 [N, *shape]. Raises EdgeguardError for another size."""
        size = self.net.shape if self.layout == "HWC" else (*self.net.shape[1:], self.net.shape[0])
        if pictures.ndim != 4 or pictures.shape[1:] != size:
            raise EdgeguardError(
                f"pictures of shape {list(pictures.shape[1:])}; {self.net.source} takes "
                f"{list(size)}"
            )
        order = pictures[..., ::-1] if self.swap else pictures
        share = order.astype(np.float32) / np.float32(255)
        real = (share - np.float32(self.mean)) / np.float32(self.std)
        real = real if self.layout == "HWC" else real.transpose(0, 3, 1, 2)
        return self._grid(real, order)

    def _grid(self, real: npt.NDArray[np.float32], pixels: U8) -> Tensor:
        grid = self.net.input
        if not self.net.real_input and grid.scale == 1.0 and grid.zero == 0:
            raise EdgeguardError(f"{self.net.source}: no scale is known for its integer input")
        return grid.steps(torch.from_numpy(np.ascontiguousarray(real)))

    def box(self, pictures: U8, radius: int) -> tuple[Tensor, Tensor]:
        """Ends of all pictures that differ by at most ``radius`` grey levels in every pixel."""
        wide = pictures.astype(np.int16)
        low, high = ((wide + r).clip(0, 255).astype(np.uint8) for r in (-radius, radius))
        return self.integers(low), self.integers(high)
