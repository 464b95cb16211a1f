# SPDX-License-Identifier: Apache-2.0
"""What the runtime loads of a detector: rows of guard.toml, and arrays where there are any.

A number that the runtime does not compute itself enters as a signal; an association compares it
with its limit (an association of a signal with itself, scaled by 0, is the signal).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.lab.defences.detector import Detector
from edgeguard.lab.defences.embedded import Boxes, Distance
from edgeguard.lab.defences.squeeze import HEATS, Squeezing

NATIVE = 'kind = "embedding"\nmember = "{member}"\nfeature = "{name}"\nabove = {limit:.6g}\n'
SIGNAL = """[signal.{name}]
unit = "1"
range = [0.0, {most:.6g}]

[detector.{name}]
kind = "association"
between = ["signal.{name}", "signal.{name}"]
relation = "difference"
scale = 0.0
above = {limit:.6g}
"""
MOST = 32_767.0  # what the border takes for a number


def signal_rows(name: str, limit: float, most: float = MOST) -> str:
    """Rows for a number that is passed as a signal."""
    return SIGNAL.format(name=name, limit=limit, most=most)


def rows(member: str, detector: Detector) -> str:
    """Of a detector on a member, to paste into guard.toml."""
    name = f"{member}_{detector.name}"
    if isinstance(detector, Distance):
        body = NATIVE.format(member=member, name=detector.name, limit=detector.limit)
        return f"[detector.{name}]\n{body}"
    if detector.name == "certainty":
        return f"# raise or lower of a channel: certainty = {1 - detector.limit:.6g}\n"
    made = signal_rows(name, detector.limit)
    if isinstance(detector, Squeezing):
        units = ", ".join(
            f"{u:.6g} at temperature {t:g}" for t, u in zip(HEATS, detector.units, strict=True)
        )
        made = f"# {', '.join(q.name for q in detector.squeezers)}; units: {units}\n" + made
    return made


def history_rows(member: str, notes: Mapping[str, Any]) -> str:
    """Of the numbers of edgeguard.lab.defences.history, from the notes of its card."""
    names = [key.removeprefix("limit.") for key in notes if key.startswith("limit.")]
    return "\n".join(signal_rows(f"{member}_{n}", notes[f"limit.{n}"]) for n in names)


def write(folder: Path, member: str, detector: Detector) -> None:
    """NAME.toml, and NAME.npz for boxes, into the folder."""
    stem = folder / f"{member}.{detector.name}"
    stem.with_name(stem.name + ".toml").write_text(rows(member, detector))
    if isinstance(detector, Boxes):
        np.savez(stem.with_name(stem.name + ".npz"), low=detector.low, high=detector.high)
