# SPDX-License-Identifier: Apache-2.0
"""The float twins of the steering networks as one differentiable function of the camera's frame:
the guard's preprocessing, then each network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeguard.errors import EdgeguardError
from edgeguard.lab.drive.nets import KINDS, Kind, Steerer
from edgeguard.lab.zoo.onnx_torch import OnnxNet
from edgeguard.zoo import CHECKOUT

GREY = (0.299, 0.587, 0.114)
Steer = Callable[[Tensor], Tensor]


def check(folder: Path) -> None:
    """Raises EdgeguardError where a twin is not there."""
    for kind in KINDS.values():
        if not (file := _file(kind, folder)).exists():
            raise EdgeguardError(f"{file}: no such file; {CHECKOUT}")


def _file(kind: Kind, folder: Path) -> Path:
    return folder / f"{kind.name}.float.{'onnx' if kind.runtime == 'onnx' else 'tflite'}"


class Twin:
    """One member: frames [N, 3, 84, 96] in 0 to 1 -> steering [N]."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self._grey = kind.colour == "GRAY"
        self._size = kind.size
        file = _file(kind, folder)
        self._net: Callable[[Tensor], Any] = (
            OnnxNet(file) if kind.runtime == "onnx" else of_tflite(kind, file)
        )

    def __call__(self, frames: Tensor) -> Tensor:
        x = frames
        if self._grey:
            x = (x * torch.tensor(GREY)[:, None, None]).sum(1, keepdim=True)
        rows, columns = (area(n, out) for n, out in zip(x.shape[2:], self._size, strict=True))
        steering: Tensor = self._net(rows @ x @ columns.T)[0]
        return steering[:, 0]


def twins(folder: Path, names: tuple[str, ...] = tuple(KINDS)) -> Mapping[str, Twin]:
    """Of the members in a folder of models."""
    return {name: Twin(KINDS[name], folder) for name in names}


_areas: dict[tuple[int, int], Tensor] = {}


def area(n: int, out: int) -> Tensor:
    """The matrix [out, n] that means n pixels into out, parts of pixels counted as parts."""
    if (n, out) not in _areas:
        edges = np.arange(out + 1) * n / out
        at = np.arange(n)
        shared = np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at)
        _areas[n, out] = torch.from_numpy(np.clip(shared, 0, None) * out / n).float()
    return _areas[n, out]


def of_tflite(kind: Kind, path: Path) -> Steerer:
    """The network of a float TFLite file: the weights of its layers, in the order of the file."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    layers = [o for o in interpreter._get_ops_details() if o["op_name"] in ORDER]
    net: Steerer = kind.make()  # type: ignore[operator]
    mine = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for module, layer in zip(mine, layers, strict=True):
            weight, bias = (torch.tensor(interpreter.get_tensor(i)) for i in layer["inputs"][1:])
            module.weight.copy_(weight.permute(*ORDER[layer["op_name"]]))
            module.bias.copy_(bias)  # type: ignore[union-attr]
    return net.eval().requires_grad_(False)


ORDER = {
    "CONV_2D": (0, 3, 1, 2),
    "DEPTHWISE_CONV_2D": (3, 0, 1, 2),
    "FULLY_CONNECTED": (0, 1),
}
"""From TFLite's order of a layer's weights to torch's."""
