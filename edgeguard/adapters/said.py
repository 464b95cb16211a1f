# SPDX-License-Identifier: Apache-2.0
"""What somebody else's pilot or agent said, as numbers, whatever it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def numbers(said: Any, n: int) -> npt.NDArray[np.float64]:
    """float64 [n]; NaN, which is insane, where that cannot be read. Never raises.

    A tensor of PyTorch that carries gradients is read without them.
    """
    try:
        plain = said.detach() if hasattr(said, "detach") else said
        return np.asarray(plain, np.float64).reshape(n)
    except Exception:  # an object of their own may do anything
        return np.full(n, np.nan)
