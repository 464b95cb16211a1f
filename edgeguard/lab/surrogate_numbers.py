# SPDX-License-Identifier: Apache-2.0
"""Operators of ONNX on numbers, as they stand between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from edgeguard.errors import ModelRefused
from edgeguard.lab.surrogate_layers import Layer, MaxPool, Window

Attributes = dict[str, Any]
Constants = list[npt.NDArray[Any] | None]


def window_of(a: Attributes) -> Window:
    """How the kernel of a Conv or a pool walks."""
    return Window(
        stride=tuple(a.get("strides", (1, 1))),
        pads=tuple(a.get("pads", (0, 0, 0, 0))),
        dilation=tuple(a.get("dilations", (1, 1))),
        groups=a.get("group", 1),
        size=tuple(a.get("kernel_shape", (1, 1))),
    )


def _average_pool(a: Attributes, c: Constants) -> Layer:
    window = window_of(a)
    if any(window.pads) or a.get("ceil_mode"):
        raise ModelRefused("AveragePool with pads or ceil_mode is not known to the surrogate")
    return lambda x: functional.avg_pool2d(x, window.size, window.stride)


def _max_pool(a: Attributes, c: Constants) -> Layer:
    if a.get("ceil_mode") or any(d != 1 for d in a.get("dilations", (1,))):
        raise ModelRefused("MaxPool with ceil_mode or dilations is not known to the surrogate")
    return MaxPool(window_of(a))


def _reduce_mean(a: Attributes, c: Constants) -> Layer:
    axes = tuple(a["axes"]) if "axes" in a else tuple(int(i) for i in np.asarray(c[0]).ravel())
    return lambda x: x.mean(axes, keepdim=bool(a.get("keepdims", 1)))


def _reshape(a: Attributes, c: Constants) -> Layer:
    """The batch keeps its size, whatever the file says of it."""
    shape = tuple(int(i) for i in np.asarray(c[0]).ravel()[1:])
    return lambda x: x.reshape(len(x), *shape)


def _clip(a: Attributes, c: Constants) -> Layer:
    low, high = ([*c, None, None][:2]) if c else (a.get("min"), a.get("max"))
    ends = [None if end is None else float(end) for end in (low, high)]
    return lambda x: x.clamp(ends[0], ends[1])


NUMBERS: dict[str, Callable[[Attributes, Constants], Layer]] = {
    "Add": lambda a, c: torch.add,
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Flatten": lambda a, c: lambda x: x.flatten(a.get("axis", 1)),
    "GlobalAveragePool": lambda a, c: lambda x: x.mean((2, 3), keepdim=True),
    "Identity": lambda a, c: lambda x: x,
    "MaxPool": _max_pool,
    "ReduceMean": _reduce_mean,
    "Relu": lambda a, c: torch.relu,
    "Reshape": _reshape,
    "Softmax": lambda a, c: lambda x: x.softmax(a.get("axis", -1)),
    "Transpose": lambda a, c: lambda x: x.permute(tuple(a["perm"])),
}
