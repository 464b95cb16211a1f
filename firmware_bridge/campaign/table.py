# SPDX-License-Identifier: Apache-2.0
"""The table that is driven with: a guard's own, and a steering channel where it has none."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from math import atan
from typing import Any

from firmware_bridge.native import ONE

LATERAL_MS2, WHEELBASE_M, MOST_RAD = 2.0, 2.7, 0.5
AT_MS = (0.0, 3.0, 5.0, 7.5, 10.0, 15.0, 22.0, 33.4)
RATE_RADS = 0.4


def with_steering(mcu: Mapping[str, Any]) -> dict[str, Any]:
    """The demo's car runs on rails; F24 needs one that can leave its lane. Its steering may not
    make more than 2 m/s2 sideways."""
    if len(mcu["policy"]["channels"]) > 1:
        return dict(mcu)
    made = deepcopy(dict(mcu))
    policy = made["policy"]
    rows = [_row(v) for v in AT_MS]
    policy["channels"].append(
        {**deepcopy(policy["channels"][0]), "measured": 1, "table_signal": 0, "stop": 0,
         "rows": rows, "degraded_rows": deepcopy(rows)}
    )  # fmt: skip
    policy["signals"].append({"min": -round(0.7 * ONE), "max": round(0.7 * ONE)})
    policy["members"].append({**policy["members"][0], "may": 3 << 2})
    made["host_channel"] = [*made["host_channel"], max(made["host_channel"]) + 1]
    return made


def _row(speed: float) -> dict[str, int]:
    most = min(MOST_RAD, atan(LATERAL_MS2 * WHEELBASE_M / max(speed, 0.1) ** 2))
    angle, rate = int(most * ONE), int(RATE_RADS * ONE)
    return {"at": int(speed * ONE), "min": -angle, "max": angle, "rise": rate, "fall": rate}
