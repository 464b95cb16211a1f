# SPDX-License-Identifier: Apache-2.0
"""What the tests of defences look at."""

from __future__ import annotations

import numpy as np
import pytest

from edgeguard.zoo import models_dir


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """The golden pictures of `plain` uint8 [N, 3, H, W], and what the member says of them."""
    with np.load(models_dir() / "plain.golden.npz") as golden:
        pixels = (golden["x"].astype(np.int16) + 128).astype(np.uint8)
        return pixels, golden["scores"].argmax(1).astype(np.int64)
