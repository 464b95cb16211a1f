# SPDX-License-Identifier: Apache-2.0
"""Robust physical perturbations (Eykholt et al., CVPR 2018): printable stickers on a real sign.

A sticker is a texture in the sign's own coordinates: it grows with the sign as the car drives up.
First the places are found (a change of the whole sign under an L1 penalty, whose strongest cells
become the mask), then the colours, over all frames of a track and over what a camera does to them.
Judged on frames of original size, through the deployed preprocessing, under wider views than those
that it was made on. The sign is the ellipse inside its box; the mask covers at most 20 % of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from edgeguard.intake.preprocess import InputSpec, Preprocessor
from edgeguard.lab.attacks.eot import TRAINING, Views, real_jpeg, warped
from edgeguard.lab.attacks.losses import margin
from edgeguard.lab.attacks.threat import LEVELS
from edgeguard.lab.attacks.victim import U8, Victim

SIDE = 64  # of a texture, and of the frames that it is made on
CELL = 4  # of the grid that masks are made of
MOST_COVER = 0.20
PRINTABLE = torch.tensor([(r, g, b) for r in (0.1, 0.5, 0.9) for g in (0.1, 0.5, 0.9)
                          for b in (0.1, 0.5, 0.9)])  # fmt: skip
"""Colours that a printer is taken to reach."""


class Scored(Protocol):
    """What stickers are made on."""

    def scores(self, x: Tensor) -> Tensor:
        """[N, classes] of images [N, C, H, W]; differentiable."""


@dataclass(frozen=True)
class Sign:
    """One track: frames RGB uint8 [h, w, 3] in driving order, and the sign's box in each as
    x1, y1, x2, y2 in pixels."""

    label: int
    frames: Sequence[U8]
    boxes: Sequence[tuple[float, float, float, float]]


@dataclass(frozen=True)
class Sticker:
    """Texture [3, SIDE, SIDE] in [0, 1] and mask [1, SIDE, SIDE] of 0 and 1, over the box."""

    texture: Tensor
    mask: Tensor

    @property
    def cover(self) -> float:
        """Share of the sign under stickers."""
        return float((self.mask * ellipse()).sum() / ellipse().sum())


def ellipse() -> Tensor:
    """The sign inside its box, [1, SIDE, SIDE]."""
    at = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    return (at**2 + at[:, None] ** 2 <= 1).float()[None]


def unprintable(texture: Tensor, mask: Tensor) -> Tensor:
    """Non-printability (after Sharif et al. 2016): how far each masked colour is from the nearest
    printable one; the mean over the mask."""
    apart = (texture[:, None] - PRINTABLE.T[:, :, None, None]).pow(2).sum(0).add(1e-9).sqrt()
    return (apart.amin(0) * mask[0]).sum() / mask.sum().clamp_min(1)


@dataclass(frozen=True)
class RP2:
    """Makes stickers that let `target` be read."""

    target: int
    steps: int = 150
    batch: int = 8
    rate: float = 0.05
    printability: float = 2.0
    cover: float = MOST_COVER
    views: Views = TRAINING
    seed: int = 0

    def __call__(self, victim: Scored, sign: Sign, size: tuple[int, int]) -> Sticker:
        """The stickers of one sign. size: height and width that the victim takes."""
        g = torch.Generator().manual_seed(self.seed)
        at = (*small(sign), size)
        whole = self._optimize(victim, at, ellipse(), self.steps // 3, g, sparse=True)
        mask = self._mask(whole)
        texture = self._optimize(victim, at, mask, self.steps, g, sparse=False)
        return Sticker(texture, mask)

    def _optimize(
        self, victim: Scored, at: tuple[Tensor, Tensor, tuple[int, int]], mask: Tensor, steps: int,
        g: Generator, sparse: bool,
    ) -> Tensor:  # fmt: skip
        """Colours under a mask. sparse: what changes the sign costs, so that little of it does."""
        frames, boxes, size = at
        w = torch.zeros(3, SIDE, SIDE).add_(torch.randn((3, SIDE, SIDE), generator=g) * 0.1)
        w.requires_grad_()
        opacity = torch.full((1, SIDE, SIDE), 0.0).requires_grad_()
        adam = torch.optim.Adam([w, opacity] if sparse else [w], self.rate)
        goal = torch.full((self.batch,), self.target)
        for _ in range(steps):
            rows = torch.randint(0, len(frames), (self.batch,), generator=g)
            texture = torch.sigmoid(w)
            cover = mask * torch.sigmoid(opacity) if sparse else mask
            marked = _stuck(frames[rows], boxes[rows], texture, cover)
            scores = victim.scores(_to_input(self.views(marked, g), size))
            loss = (margin(scores, goal) + 3).clamp_min(0).mean()
            if sparse:
                loss = loss + 4 * cover.sum() / mask.sum()
            else:
                loss = loss + self.printability * unprintable(texture, mask)
            adam.zero_grad()
            loss.backward()
            adam.step()
        made = torch.sigmoid(opacity if sparse else w).detach()
        return made * mask if sparse else made

    def _mask(self, whole: Tensor) -> Tensor:
        """The cells of the sign that were worth most, up to the cover."""
        inside = ellipse()
        weight = functional.avg_pool2d((whole * inside)[None], CELL)[0, 0]
        full = functional.avg_pool2d(inside[None], CELL)[0, 0]
        order = (weight - (full < 1).float()).flatten().argsort(descending=True)
        many = int(self.cover * float(inside.sum()) / CELL**2)
        cells = torch.zeros(weight.numel())
        cells[order[:many]] = 1
        return functional.interpolate(cells.view(1, 1, *weight.shape), scale_factor=CELL)[0]


def small(sign: Sign) -> tuple[Tensor, Tensor]:
    """Frames [N, 3, SIDE, SIDE] and boxes [N, 4] as shares of them."""
    found, boxes = [], []
    for frame, box in zip(sign.frames, sign.boxes, strict=True):
        x = torch.from_numpy(frame.astype(np.float32) / LEVELS).permute(2, 0, 1)[None]
        found.append(functional.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True,
                                            align_corners=False))  # fmt: skip
        h, w = frame.shape[:2]
        boxes.append((box[0] / w, box[1] / h, box[2] / w, box[3] / h))
    return torch.cat(found).clamp(0, 1), torch.tensor(boxes)


def _stuck(frames: Tensor, boxes: Tensor, texture: Tensor, mask: Tensor) -> Tensor:
    """Frames [N, 3, h, w] with the sticker in their boxes [N, 4] (shares of the frame)."""
    n, _, height, width = frames.shape
    xs = ((torch.arange(width) + 0.5) / width)[None, None, :]
    ys = ((torch.arange(height) + 0.5) / height)[None, :, None]
    x1, y1, x2, y2 = (boxes[:, i][:, None, None] for i in range(4))
    grid = torch.stack([((xs - x1) / (x2 - x1) * 2 - 1).expand(n, height, width),
                        ((ys - y1) / (y2 - y1) * 2 - 1).expand(n, height, width)], 3)  # fmt: skip
    layers = torch.cat([texture * mask, mask])[None].expand(n, -1, -1, -1)
    seen = functional.grid_sample(layers, grid, align_corners=False)
    return frames * (1 - seen[:, 3:]) + seen[:, :3]


def size_of(victim: Victim) -> tuple[int, int]:
    """Height and width that a model takes."""
    shape = victim.surrogate.spec.inputs[0].shape
    size = shape[1:3] if victim.pixels.hwc else shape[2:4]
    return int(size[0]), int(size[1])


def shown_to(sign: Sign, size: tuple[int, int]) -> Tensor:
    """The frames of a track as a model of this size takes them [N, 3, H, W]."""
    return _to_input(small(sign)[0], size)


def _to_input(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The picture at the model's size, averaged over the area as the deployed preprocessing."""
    return functional.interpolate(x, size, mode="area")


def frames_with(sign: Sign, sticker: Sticker) -> list[U8]:
    """The track with the sticker on it, in original size."""
    made = []
    for frame, box in zip(sign.frames, sign.boxes, strict=True):
        x = torch.from_numpy(frame.astype(np.float32) / LEVELS).permute(2, 0, 1)[None]
        h, w = frame.shape[:2]
        where = torch.tensor([[box[0] / w, box[1] / h, box[2] / w, box[3] / h]])
        stuck = _stuck(x, where, sticker.texture, sticker.mask)
        made.append(np.asarray((stuck[0].permute(1, 2, 0) * LEVELS).round().to(torch.uint8)))
    return made


def read(victim: Victim, frames: Sequence[U8], views: Views, draws: int, seed: int) -> np.ndarray:
    """Labels [frames, draws] under drawn views, through the native preprocessing kernel and the
    deployed file. The card is needed for it."""
    assert victim.card is not None
    spec = InputSpec.of(victim.card.input)
    labels = [_label(victim, view, spec) for view in views_of(frames, views, draws, seed)]
    return np.array(labels).reshape(len(frames), draws)


def views_of(frames: Sequence[U8], views: Views, draws: int, seed: int) -> Iterator[U8]:
    """So many drawn views of each frame in turn: geometry and light, then Pillow's JPEG."""
    g = torch.Generator().manual_seed(seed)
    for frame in frames:
        for _ in range(draws):
            yield _view(frame, views, g)


def _view(frame: U8, views: Views, g: Generator) -> U8:
    x = torch.from_numpy(frame.astype(np.float32) / LEVELS).permute(2, 0, 1)[None]
    seen = views.light(warped(x, views.geometry(1, g)), g)[0]
    picture = np.asarray((seen.permute(1, 2, 0) * LEVELS).round().to(torch.uint8))
    return real_jpeg(np.ascontiguousarray(picture), views.quality(1, g)[0])


def _label(victim: Victim, picture: U8, spec: InputSpec) -> int:
    tensor = spec.empty()
    height, width = picture.shape[:2]
    Preprocessor(spec, height, width, "RGB", statistics=False).run(
        np.ascontiguousarray(picture), tensor
    )
    answer: Any = victim.raw(tensor)
    return int(answer.argmax())
