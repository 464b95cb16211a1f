# SPDX-License-Identifier: Apache-2.0
"""A denoising autoencoder before a member, as one int8 file (after Meng & Chen 2017, MagNet).

It learns to give back training pictures that were disturbed: by noise, and by one step against the
member. What it returns is what the member looks at, so the pair is a member like any other: the
float twins are joined, quantized together and confined together, and every attack and every bound
of the lab goes through both.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from onnx import compose
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from edgeguard.lab.zoo import data, quantize_onnx, runners
from edgeguard.lab.zoo.adversarial import Scores

SEED = 43
REACH = 8 / 255  # of a disturbance, per pixel


class Denoiser(nn.Module):
    """Three convolutions that say what to add to a picture [N, 3, H, W]; 3 x 16 x 16 x 3 maps."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, 3, 3, padding=1),
        )  # fmt: skip
        first, last = self.body[0].weight, self.body[-1]
        with torch.no_grad():
            # Blind to brightness, beside which a disturbance is small: else the first steps push
            # every unit below 0, for good.
            first.sub_(first.mean((2, 3), keepdim=True)).mul_(10)
        nn.init.zeros_(last.weight)  # begins as the identity
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The picture without the disturbance."""
        return x + self.body(x)


@dataclass(frozen=True)
class Recipe:
    """every: of the training frames, each so-many-th is used."""

    epochs: int = 4
    every: int = 2
    batch: int = 64
    lr: float = 2e-3


def disturbed(x: Tensor, y: Tensor, scores: Scores, g: torch.Generator) -> Tensor:
    """A third each: as it is, with noise, after one step against the member from a random start."""
    kind = torch.randint(3, (len(x), 1, 1, 1), generator=g)
    noise = (torch.rand(x.shape, generator=g) * 2 - 1) * REACH
    leaf = (x + noise).clamp(0, 1).requires_grad_()
    loss = functional.cross_entropy(scores(leaf), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    stepped = torch.minimum(torch.maximum(leaf.detach() + REACH * gradient.sign(), x - REACH),
                            x + REACH).clamp(0, 1)  # fmt: skip
    return torch.where(kind == 0, x, torch.where(kind == 1, leaf.detach(), stepped))


def fit(how: Recipe, scores: Scores, images: data.Images) -> tuple[Denoiser, float]:
    """A denoiser trained to give back the picture, and the member its answer; and the CPU seconds.

    scores: of the member's float twin, differentiable.
    """
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    g = torch.Generator().manual_seed(SEED)
    net, begun = Denoiser(), time.process_time()
    x = torch.from_numpy(images.x[:: how.every]).permute(0, 3, 1, 2)
    y = torch.from_numpy(images.y[:: how.every])
    optimizer = torch.optim.Adam(net.parameters(), how.lr)
    for epoch in range(how.epochs):
        order = torch.randperm(len(y), generator=g).split(how.batch)
        for index in tqdm(order, desc=f"denoise {epoch + 1}", leave=False):
            clean, labels = x[index].float() / 255, y[index]
            made = net(disturbed(clean, labels, scores, g))
            loss = 100 * functional.mse_loss(made, clean) + functional.cross_entropy(
                scores(made), labels
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return net.eval(), time.process_time() - begun


def write(net: Denoiser, twin: Path, frames: data.U8, file: Path) -> None:
    """The int8 file of the denoiser and the member behind it; twin: the member's float ONNX file;
    frames uint8 [N, H, W, 3] calibrate both."""
    with tempfile.TemporaryDirectory() as folder:
        first, both = Path(folder) / "first.onnx", Path(folder) / "both.onnx"
        torch.onnx.export(
            net, (torch.zeros(1, 3, *frames.shape[1:3]),), str(first), dynamo=False,
            opset_version=17, external_data=False, input_names=[quantize_onnx.INPUT],
            output_names=["clean"], dynamic_axes={quantize_onnx.INPUT: {0: "N"}, "clean": {0: "N"}},
        )  # fmt: skip
        member = onnx.load(str(twin))
        begin = compose.add_prefix(member, "member_")
        ends = {f"member_{o.name}": o.name for o in member.graph.output}
        joined = compose.merge_models(
            _same_version(onnx.load(str(first)), begin), begin,
            io_map=[("clean", f"member_{quantize_onnx.INPUT}")],
        )  # fmt: skip
        _rename(joined.graph, ends)
        quantize_onnx.save(joined, both)
        quantize_onnx.quantize_onnx(both, file, runners.chw(runners.to_float(frames)))


def _same_version(model: onnx.ModelProto, other: onnx.ModelProto) -> onnx.ModelProto:
    model.ir_version = other.ir_version
    return model


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in graph.output:
        value.name = names.get(value.name, value.name)
