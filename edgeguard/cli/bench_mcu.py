# SPDX-License-Identifier: Apache-2.0
"""The link's part of `edgeguard bench`: how long a round trip to the microcontroller takes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard import config
from edgeguard.errors import EdgeguardError
from edgeguard.zoo import models_dir

PORT = "the firmware in QEMU, over a pty"


def figures(rounds: int) -> list[dict[str, Any]]:
    """mcu.round_trip.{p50,p99}: host to microcontroller and back, its next turn awaited;
    mcu.link.{p50,p99}: microcontroller to host and back, as it measures when it is armed.

    Raises EdgeguardError, which says what is missing here.
    """
    try:
        from firmware_bridge import keys, probe, sim
    except ModuleNotFoundError as error:
        raise EdgeguardError(f"needs {error.name}; pip install 'edgeguard-monitor[mcu]'") from None
    mcu, own = config.mcu_dict(config.load(models_dir() / "guard.toml")), keys.make_keys()
    with tempfile.TemporaryDirectory(prefix="edgeguard-bench-") as folder:
        elf = sim.build(mcu, own, Path(folder) / "firmware")
        with sim.Sim(elf) as running:
            trips = probe.round_trips(running.port, mcu, own, rounds)
    return [
        {
            "id": f"mcu.{name}.{quantile}", "value": float(np.percentile(us, at)), "unit": "us",
            "n": len(us),
        }
        for name, us in (("round_trip", trips.host), ("link", trips.mcu))
        for quantile, at in (("p50", 50), ("p99", 99))
    ]  # fmt: skip


def lines(found: list[dict[str, Any]]) -> str:
    """For a person."""
    by_id = {figure["id"]: figure["value"] for figure in found}
    what = {"round_trip": "host, MCU's next turn, host", "link": "MCU, host, MCU"}
    return "\n".join(
        f"{text:30} p50 {by_id[f'mcu.{name}.p50']:7.0f} us   p99 {by_id[f'mcu.{name}.p99']:7.0f} us"
        for name, text in what.items()
    )
