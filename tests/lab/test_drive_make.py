# SPDX-License-Identifier: Apache-2.0
"""The int8 files of the steering networks, from a network that was not trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra lab")
pytest.importorskip("onnxruntime.quantization", reason="the extra lab")

from edgeguard.lab.drive import make, nets  # noqa: E402
from edgeguard.lab.zoo import runners  # noqa: E402


def test_a_file_calibrated_on_bends_to_the_left_steers_to_the_right_as_well(tmp_path: Path) -> None:
    """A road that is always on the left of the picture, and a network that likes it there."""
    kind = nets.KINDS["grey"]
    net = nets.fresh(kind, 0).eval()
    rng = np.random.default_rng(0)
    x = rng.integers(0, 60, (40, 1, *kind.size), np.uint8)
    x[..., : kind.size[1] // 2] += 120
    with torch.no_grad():  # 0.8 for the one, -0.8 for the other
        left, right = (
            net(torch.from_numpy(runners.to_float(one)))[1].mean(0)
            for one in (x, np.ascontiguousarray(x[..., ::-1]))
        )
        apart = left - right
        net.head.weight.copy_((1.6 * apart / (apart @ apart))[None])
        net.head.bias.copy_(-net.head.weight @ (left + right) / 2)
    found = make.export(kind, net, tmp_path / "float.onnx", tmp_path / "int8.onnx", x)
    scale, zero = found["scores"]
    assert (-128 - zero) * scale == -1.0 and 1 - scale <= (127 - zero) * scale <= 1.0
    for pictures in (x, np.ascontiguousarray(x[..., ::-1])):
        fed = np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))
        int8 = (runners.run(tmp_path / "int8.onnx", fed)[0].astype(float) - zero) * scale
        wanted = np.clip(runners.run(tmp_path / "float.onnx", fed)[0], -1.0, 1.0)
        assert np.abs(int8 - wanted).max() < 0.08
