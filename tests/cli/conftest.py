# SPDX-License-Identifier: Apache-2.0
"""A guard of one model, and real signs for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeguard.zoo import models_dir
from tests.cli.running import POLICY


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    labels = json.loads((models_dir() / "labels.json").read_text())
    means = f'\n[channel.target_speed.means]\n"{labels[2]}" = 13.8\n'
    (tmp_path / "guard.toml").write_text(POLICY + means)
    return tmp_path / "guard.toml"


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """The golden inputs of the shipped model, as BGR pictures [8, 32, 32, 3]: real signs."""
    with np.load(models_dir() / "plain.golden.npz") as golden:
        pixels = (golden["x"].astype(np.int16) + 128).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)[..., ::-1])
