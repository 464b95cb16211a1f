# SPDX-License-Identifier: Apache-2.0
"""Toy nets of four pixels, quantized by the repository's quantizer, and all of their inputs."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edgeguard.lab.verification.net import Net
from edgeguard.lab.verification.read import read_net
from edgeguard.lab.verification.runtime import Runtime
from edgeguard.lab.zoo import quantize_onnx

SHAPE = (1, 2, 2)
KINDS = ("dense", "max", "average", "residual")


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class Toy(nn.Module):
    """Image [N, 1, 2, 2] -> scores [N, 3], embedding [N, 5]."""

    def __init__(self, kind: str, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        between = {
            "dense": nn.Identity(), "max": nn.MaxPool2d(2, 1), "average": nn.AvgPool2d(2, 1),
            "residual": Residual(),
        }[kind]  # fmt: skip
        side = {"dense": 3, "max": 2, "average": 2, "residual": 3}[kind]
        self.features = nn.Sequential(
            nn.Conv2d(1, 3, 2, 1, 1), nn.ReLU(), between, nn.Flatten(),
            nn.Linear(3 * side * side, 5), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(5, 3)
        with torch.no_grad():  # steep, so that a grey level decides
            for p in self.parameters():
                p.mul_(2.5)
            self.head.bias.sub_(self.head(self.features(torch.rand(64, *SHAPE))).mean(0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.features(x)
        return self.head(embedding), embedding


class Around(nn.Module):
    """As ``Toy``, with scores that read the integers of the first layer once more."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten())
        self.middle = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.first(x)
        return embedding + self.middle(embedding), embedding


def make(kind: str, seed: int, folder: Path) -> Path:
    """Write a toy int8 file."""
    twin, file = folder / f"{kind}{seed}.float.onnx", folder / f"{kind}{seed}.onnx"
    frames = np.random.default_rng(seed).random((64, *SHAPE), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = Around() if kind == "around" else Toy(kind, seed)
        quantize_onnx.export_float(net.eval(), twin, SHAPE)
        quantize_onnx.quantize_onnx(twin, file, frames)
    return file


def node(kind: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    """An operator; names of inputs are separated by spaces."""
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def write(path: Path, nodes: Sequence[Any], constants: Mapping[str, Any],
          inside: tuple[int, ...] = (4,), outputs: Mapping[str, tuple[int, ...]] | None = None,
          opset: int = 17, kind: str = "FLOAT") -> Path:  # fmt: skip
    """Write a file of these nodes, from x [N, *inside], float32 or of another kind, to outputs
    float32, by default scores [N, 3]."""
    shapes = {"scores": (3,)} if outputs is None else outputs
    entry = helper.make_tensor_value_info("x", TensorProto.DataType.Value(kind), [None, *inside])
    graph = helper.make_graph(
        list(nodes), "toy", [entry],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, [None, *v])
         for k, v in shapes.items()],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    return path


def opened(kind: str, seed: int, folder: Path) -> tuple[Net, Runtime]:
    """A toy file, read and on the runtime."""
    net = read_net(make(kind, seed, folder))
    return net, Runtime.open(net)


def every(low: Tensor, high: Tensor) -> Tensor:
    """All integers of one box [1, *shape], [M, *shape]."""
    spans = [range(int(a), int(b) + 1) for a, b in zip(low.flatten(), high.flatten(), strict=True)]
    return torch.tensor(list(itertools.product(*spans)), dtype=torch.float64).view(
        -1, *low.shape[1:]
    )


def near_border(runtime: Runtime, g: torch.Generator, rank: int = 0) -> Tensor:
    """Of 300 random inputs the one whose two best scores are closest, or the rank-th after it:
    there verdicts can differ."""
    q = torch.randint(-128, 128, (300, *SHAPE), generator=g).double()
    top = runtime.run(q).topk(2, 1).values
    lead = top[:, 0] - top[:, 1]
    lead[lead == 0] = torch.inf
    return q[lead.argsort()[rank]][None]
