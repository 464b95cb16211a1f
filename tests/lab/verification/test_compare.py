# SPDX-License-Identifier: Apache-2.0
"""Nothing is proved where the runtime computes otherwise than the verifier reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab needs it")
pytest.importorskip("onnxruntime", reason="the judge")

import torch
from click.testing import CliRunner

from edgeguard.cli.lab_verify import command
from edgeguard.errors import EdgeguardError
from edgeguard.lab.verification.report import open_checked, probes
from edgeguard.lab.verification.runtime import Runtime
from tests.lab.verification import toys


def off_at(monkeypatch: pytest.MonkeyPatch, grey: int) -> None:
    """A runtime that is wrong about one input only, that of one grey level."""
    real = Runtime.run

    def run(self: Runtime, q: torch.Tensor) -> torch.Tensor:
        wrong = (q == grey - 128).flatten(1).all(1)
        return real(self, q) + 99 * wrong[:, None]

    monkeypatch.setattr(Runtime, "run", run)


@pytest.mark.parametrize("grey", [0, 119, 255])
def test_a_kernel_that_is_wrong_about_extremes_is_found(
    grey: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toys.make("dense", 1, tmp_path)
    net, _, _ = open_checked(file)
    assert (probes(net).min(), probes(net).max()) == (-128, 127)
    off_at(monkeypatch, grey)
    with pytest.raises(EdgeguardError, match=r"dense1\.onnx: [12] of 232 answers"):
        open_checked(file)


def test_given_pictures_and_boxes_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toys.make("dense", 1, tmp_path)
    np.savez(tmp_path / "x.npz", x=np.full((2, 2, 2, 1), [[[[205]]], [[[7]]]], np.uint8),
             y=np.zeros(2, np.int64))  # fmt: skip
    ends = f"low = 0.1, high = {205 / 255}"
    (tmp_path / "p.toml").write_text(
        '[[property]]\nname = "r"\nrange = true\nbox = { ' + ends + " }\n"
    )
    off_at(monkeypatch, 205)
    open_checked(file)
    for kind, name in (("--pictures", "x.npz"), ("--properties", "p.toml")):
        more = [str(file), kind, str(tmp_path / name)]
        ran = CliRunner().invoke(command, more, standalone_mode=False)
        assert isinstance(ran.exception, EdgeguardError)
        assert "1 of 2 answers of ONNX Runtime lie outside" in str(ran.exception)
