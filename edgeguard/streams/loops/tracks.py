# SPDX-License-Identifier: Apache-2.0
"""Which tracks are for what: seeds of CarRacing, in one place, so that no two uses meet."""

from __future__ import annotations

from typing import Final

TRAIN: Final = range(1000, 1030)
"""To learn from."""
HELD: Final = range(2000, 2004)
"""To report a network's error on."""
CALIBRATION: Final = range(3000, 3100)
"""Clean drives that the guard's thresholds are set on, on which code is tried out, and on whose
frames the patch was made."""
TEST: Final = range(121, 200)
"""To judge on; nothing was learnt, set or chosen on these. Up to 120 was looked at: limits
set on 24 calibration tracks turned out too narrow there, hence a hundred."""
