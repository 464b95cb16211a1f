# SPDX-License-Identifier: Apache-2.0
"""The deployed file on ONNX Runtime: what every verdict is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgeguard.lab.verification.interval import bounds
from edgeguard.lab.verification.net import Net


@dataclass(frozen=True)
class Runtime:
    """A session, one thread. Inputs and scores are integers as in ``Net``."""

    net: Net
    session: Any

    @classmethod
    def open(cls, net: Net) -> Runtime:
        """Open the file that the net was read from."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = ort.InferenceSession(net.source, options, providers=["CPUExecutionProvider"])
        return cls(net, session)

    def run(self, q: Tensor) -> Tensor:
        """Scores float64 [N, K] of input integers [N, *shape], image by image as it is deployed.

        Integers where the file quantizes its scores, real numbers where it does not.
        """
        found = [self._one(x) for x in q]
        return torch.stack(found) if found else torch.zeros(0)

    def fed(self, q: Tensor) -> npt.NDArray[Any]:
        """Input integers as the array that the file takes, of the same shape."""
        if self.net.real_input:
            grid = self.net.input
            return ((q - grid.zero).to(torch.float32) * grid.scale).numpy()
        eight = self.session.get_inputs()[0].type == "tensor(uint8)"
        return q.numpy().astype(np.uint8 if eight else np.int8)

    def _one(self, q: Tensor) -> Tensor:
        name = self.session.get_inputs()[0].name
        out = self.session.run([self.net.output_name], {name: self.fed(q)[None]})[0][0]
        scores = torch.from_numpy(np.asarray(out).reshape(-1)).double()
        grid = self.net.grid(self.net.output)
        layer = self.net.layers[self.net.output - 1]
        if np.asarray(out).dtype == np.float32 and not getattr(layer, "raw", False):
            return torch.round(scores / grid.scale) + grid.zero
        return scores


@dataclass(frozen=True)
class Check:
    """n inputs compared: the largest distance of a score in steps, the share of equal answers, and
    how many lay outside of the bounds of their own point (0 or the reading is wrong)."""

    n: int
    farthest: float
    equal: float
    outside: int


def check(runtime: Runtime, q: Tensor) -> Check:
    """Compare the net, and its bounds of single points, with the file on inputs [N, *shape]."""
    net = runtime.net
    wanted = runtime.run(q)
    away = (net.run(q) - wanted).abs().amax(1)
    point = bounds(net, q, q)
    low, high = (t[net.output].flatten(1) for t in (point.low, point.high))
    inside = ((low <= wanted) & (wanted <= high)).all(1)
    return Check(len(q), float(away.max()), float((away == 0).double().mean()),
                 int((~inside).sum()))  # fmt: skip
