# SPDX-License-Identifier: Apache-2.0
"""One certificate for a region around a cluster of pictures.

The hull of pictures of one class that differ by a few grey levels (frames of a camera that stands,
copies at other compression) plus the radius is one box; its certificate is that of each of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeguard.lab.verification.pixels import U8


def clusters(x: U8, y: npt.NDArray[np.int64], reach: int) -> list[npt.NDArray[np.int64]]:
    """Groups of two and more pictures [N, H, W, C] of one class, each at most ``reach`` grey levels
    from the first of its group in every pixel; indices, every picture in at most one group."""
    left = set(range(len(x)))
    found = []
    for i in range(len(x)):
        if i not in left:
            continue
        same = np.array([k for k in sorted(left) if y[k] == y[i]])
        away = np.abs(x[same].astype(np.int16) - x[i].astype(np.int16))
        near = same[away.reshape(len(same), -1).max(1) <= reach]
        left -= set(near.tolist())
        if len(near) > 1:
            found.append(near)
    return found


def hull(x: U8, radius: int) -> tuple[U8, U8]:
    """Ends [1, H, W, C] of the box around all pictures, ``radius`` grey levels wider."""
    wide = x.astype(np.int16)
    low, high = wide.min(0, keepdims=True) - radius, wide.max(0, keepdims=True) + radius
    return low.clip(0, 255).astype(np.uint8), high.clip(0, 255).astype(np.uint8)
