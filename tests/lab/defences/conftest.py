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


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data directory in the format of the real one: 60 signs to test, 400 to train on."""
    pytest.importorskip("torch", reason="the lab needs its extra")
    from PIL import Image

    from edgeguard.lab.zoo import data
    from tests.lab.signs import signs

    folder = tmp_path_factory.mktemp("data")
    (folder / "gtsrb").mkdir()
    x, y = signs(60)
    np.savez(folder / "gtsrb" / "test_public_32.npz", x=x.transpose(0, 2, 3, 1), y=y)
    x, y = signs(400)
    sheet = x.transpose(0, 2, 3, 1).reshape(20, 20, 32, 32, 3).swapaxes(1, 2).reshape(640, 640, 3)
    Image.fromarray(np.ascontiguousarray(sheet)).save(
        folder / "gtsrb" / "train_32.webp", lossless=True
    )
    held = dict(divmod(key, 1000) for key in data.read_split(models_dir() / "split.json"))
    track = [held.get(int(label), 900) if i % 3 == 0 else 900 for i, label in enumerate(y)]
    np.savez(folder / "gtsrb" / "train_32_index.npz", y=y, track=np.array(track))
    return folder
