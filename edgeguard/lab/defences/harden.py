# SPDX-License-Identifier: Apache-2.0
"""Adversarial training, as fine-tuning of a float ONNX twin: five ways to spend the same epochs.

=========  =======================================================================================
pgd        the loss on pictures of a few steps (Madry et al. 2018)
trades     the loss on the clean picture, and how far the answer moves (Zhang et al. 2019)
fast       the loss after one large step from a random start (Wong, Rice, Kolter 2020)
quantized  as fast, with weights and activations rounded to int8 on the way, straight through going
           back: what is attacked and trained is the file that will be deployed
diverse    as fast, but every other picture was attacked on another member (Tramer et al. 2018), so
           that what fools that one fools this one less: for members that vote
=========  =======================================================================================

Unlike Zhang et al., `trades` attacks the cross entropy here, not the distance that it then makes
small: a member that is trained already is so sure of its answers that the distance has hardly any
slope to climb. On eight pictures of `plain`, ten steps within 4/255 on the distance move the answer
by 0.14 nats, on the cross entropy by 3.35.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from edgeguard.lab.surrogate_layers import rounded
from edgeguard.lab.zoo import data, quantize_onnx, runners
from edgeguard.lab.zoo.adversarial import PGD, Linf, Target
from edgeguard.lab.zoo.augment import Augment
from edgeguard.lab.zoo.onnx_torch import OPERATORS, OnnxNet
from edgeguard.lab.zoo.train import Cycle, learning_rate

SEED = 47
RADIUS = 4 / 255
BETA = 3.0  # of TRADES: weight of the distance
WAYS = ("pgd", "trades", "fast", "quantized", "diverse")
Scores = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Recipe:
    """every: of the training frames, each so-many-th is used; steps: of an attack, but of the
    fast ones."""

    way: str
    epochs: int = 3
    every: int = 3
    batch: int = 128
    lr: float = 5e-4
    steps: int = 3


class Tunable(OnnxNet):
    """A float file whose constants are trained. With `ranges`, low and high by tensor, every weight
    and every activation is rounded to int8 on the way."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path
        self.trained = [nn.Parameter(t) for t in self.weights.values() if t.is_floating_point()]
        names = [n for n, t in self.weights.items() if t.is_floating_point()]
        self.weights.update(zip(names, self.trained, strict=True))
        self.ranges: dict[str, tuple[float, float]] = {}

    def observe(self, x: Tensor) -> None:
        """Take the range of every activation that the int8 file holds from these pictures."""
        inner = self._inside_relu()
        with torch.no_grad():
            for name, value in self._values(x).items():
                if name not in self.weights and name not in inner:
                    self.ranges[name] = float(value.min()), float(value.max())
        low, high = self.ranges[self.outputs[0]]
        room = quantize_onnx.HEAD_ROOM
        self.ranges[self.outputs[0]] = low * room, high * room

    def _inside_relu(self) -> set[str]:
        """What one Relu alone reads: ONNX Runtime's quantizer takes the Relu away and gives its
        range to the layer before it."""
        readers = Counter(name for _, inputs, _, _ in self.nodes for name in inputs)
        read = {i[0] for operator, i, _, _ in self.nodes if operator is OPERATORS["Relu"]}
        return {name for name in read if readers[name] == 1 and name not in self.outputs}

    def __call__(self, x: Tensor) -> list[Tensor]:
        """All outputs, in the order of the file."""
        values = self._values(x)
        return [values[name] for name in self.outputs]

    def _values(self, x: Tensor) -> dict[str, Tensor]:
        values = {n: self._weight(t) for n, t in self.weights.items()} | {self.input: x}
        for operator, inputs, output, attributes in self.nodes:
            made = operator([values[name] for name in inputs], attributes)
            values[output] = steps(made, *self.ranges[output]) if output in self.ranges else made
        return values

    def _weight(self, weight: Tensor) -> Tensor:
        if not self.ranges or weight.ndim < 2:
            return weight
        most = weight.detach().abs().flatten(1).amax(1).clamp_min(1e-12)
        scale = (most / 127).reshape(-1, *[1] * (weight.ndim - 1))
        return rounded(weight / scale) * scale

    def save(self, to: Path) -> None:
        """The float twin with the weights as they are now."""
        model = onnx.load(str(self.path))
        for tensor in model.graph.initializer:
            array = self.weights[tensor.name].detach().numpy()
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        quantize_onnx.save(model, to)


def steps(x: Tensor, low: float, high: float) -> Tensor:
    """Rounded to the 256 steps of int8 that cover [low, high] and 0."""
    if max(high, 0.0) - min(low, 0.0) < 1e-9:
        return x  # always 0 where it was observed: there are no steps
    scale, zero = quantize_onnx.affine(low, high)
    return ((rounded(x / scale) + zero).clamp(-128, 127) - zero) * scale


def loss_of(
    how: Recipe, scores: Scores, x: Tensor, y: Tensor, g: torch.Generator,
    other: Scores | None = None,
) -> Tensor:  # fmt: skip
    """Of one batch, with the attack that the way wants; other: a member that votes beside it."""
    if how.way in ("pgd", "trades"):
        attack = PGD(steps=how.steps, step=1.5 / how.steps)
    else:
        attack = PGD(steps=1, step=1.25)
    adv = attack.ascend(Target(scores), x, y, Linf(RADIUS), g)
    if other is not None:
        adv[::2] = attack.ascend(Target(other), x[::2], y[::2], Linf(RADIUS), g)
    if how.way != "trades":
        return functional.cross_entropy(scores(adv), y)
    clean, moved = scores(x), scores(adv)
    away = functional.kl_div(
        moved.log_softmax(1), clean.log_softmax(1), log_target=True, reduction="batchmean"
    )
    return functional.cross_entropy(clean, y) + BETA * away


def fit(
    how: Recipe, twin: Path, images: data.Images, other: Scores | None = None
) -> tuple[Tunable, float]:
    """The fine-tuned twin, and the CPU seconds. other: scores of the member that `diverse` is to
    be unlike. Raises ValueError for `diverse` without it."""
    if how.way == "diverse" and other is None:
        raise ValueError("diverse: needs the scores of another member")
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    g = torch.Generator().manual_seed(SEED)
    net, begun = Tunable(twin), time.process_time()
    rows = np.arange(0, len(images), how.every)
    x = torch.from_numpy(images.x[rows].transpose(0, 3, 1, 2).copy())
    y = torch.from_numpy(images.y[rows])
    if how.way == "quantized":
        net.observe(x[:: max(1, len(x) // 512)].float() / 255)
    optimizer = torch.optim.AdamW(net.trained, how.lr, weight_decay=0.01)
    cycle = Cycle(how.epochs, how.lr, Augment(erase=0.0))
    for epoch in range(how.epochs):
        order = torch.randperm(len(y), generator=g).split(how.batch)
        for at, index in enumerate(tqdm(order, desc=f"{how.way} {epoch + 1}", leave=False)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(cycle, (epoch + at / len(order)) / how.epochs)
            shown, labels = cycle.augment(x[index].float() / 255, y[index], g)
            loss = loss_of(how, net.scores, shown, labels, g, other)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.trained, 5.0)
            optimizer.step()
    return net, time.process_time() - begun


def write(net: Tunable, frames: data.U8, file: Path) -> None:
    """The int8 file, and the float twin beside it; frames uint8 [N, H, W, 3] calibrate it."""
    twin = file.with_suffix(".float.onnx")
    net.save(twin)
    quantize_onnx.quantize_onnx(twin, file, runners.chw(runners.to_float(frames)))
