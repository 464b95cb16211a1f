# SPDX-License-Identifier: Apache-2.0
"""What the runtime loads of a detector: rows of guard.toml.

Distances, boxes and the history are detectors of the runtime; what they are fitted to, `edgeguard
calibrate` fits. A number that the runtime does not compute itself enters as a signal; an
association compares it with its limit (an association of a signal with itself, scaled by 0, is the
signal).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeguard.config.definition import model_keys
from edgeguard.evidence.calibration_file import model_table
from edgeguard.evidence.embedding import to_bytes
from edgeguard.lab.defences.detector import Detector
from edgeguard.lab.defences.embedded import Boxes, Distance
from edgeguard.lab.defences.learned import Learned
from edgeguard.lab.defences.squeeze import HEATS, Squeezing
from edgeguard.lab.defences.together import Together

NATIVE = 'kind = "embedding"\nmember = "{member}"\nfeature = "{name}"\nabove = {limit:.6g}\n'
BOXES = """kind = "embedding"
member = "{member}"
feature = "boxes"
above = "calibrated"
max_false_trips_per_hour = 20
"""
HISTORY = """[detector.{member}_{feature}]
kind = "history"
member = "{member}"
feature = "{feature}"
above = {limit:.6g}
"""
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
SQUEEZED = """# The number: how far the scores of a picture move when it loses detail ({names}): the
# largest L1 distance of probabilities at each temperature, in units, and the larger of the two.
# A unit is what 95 % of clean calibration pictures stay below. Units: {units}.
# `above` is what 95 % of those of other tracks stay below in units, or, of detectors side by side,
# what lets all of them flag 5 %. Pass the number with every decide, as signal "{signal}":
# a missing one is INPUT_INVALID. A loop that does: docs/lab/defend.md, "A number as a signal".
"""
TOGETHER = "# measured side by side: {name} flags above {limit:.6g}\n"
MOST = 32_767.0  # what the border takes for a number


def signal_rows(name: str, limit: float, most: float = MOST) -> str:
    """Rows for a number that is passed as a signal."""
    return SIGNAL.format(name=name, limit=limit, most=most)


def rows(member: str, detector: Detector) -> str:
    """Of a detector on a member, to paste into guard.toml."""
    name = f"{member}_{detector.name}"
    if isinstance(detector, Boxes):
        return f"[detector.{name}]\n{BOXES.format(member=member)}"
    if isinstance(detector, Distance):
        body = NATIVE.format(member=member, name=detector.feature, limit=detector.limit)
        return f"[detector.{name}]\n{body}"
    if detector.name == "certainty":
        return f"# raise or lower of a channel: certainty = {1 - detector.limit:.6g}\n"
    made = signal_rows(name, detector.limit)
    if isinstance(detector, Squeezing):
        units = ", ".join(
            f"{u:.6g} at temperature {t:g}" for t, u in zip(HEATS, detector.units, strict=True)
        )
        names = ", ".join(squeezer.name for squeezer in detector.squeezers)
        made = SQUEEZED.format(names=names, units=units, signal=name) + made
    return made


def history_rows(member: str, notes: Mapping[str, Any]) -> str:
    """From the notes of the history's card; fingerprints stay in the lab."""
    found = {f: notes[f"limit.{f}"] for f in ("echoes", "flips") if f"limit.{f}" in notes}
    return "\n".join(HISTORY.format(member=member, feature=f, limit=n) for f, n in found.items())


def write(folder: Path, member: str, detector: Detector) -> None:
    """MEMBER.NAME.toml, into the folder; of a trained detector its arrays too, and the lines of the
    calibration file that name them. Of detectors side by side one file, with the limits that the
    parts have together."""
    name = f"{member}.{detector.name}"
    parts = detector.deployed() if isinstance(detector, Together) else [detector]
    text = "\n".join(rows(member, part) for part in parts)
    if len(parts) > 1:
        text = "".join(TOGETHER.format(name=p.name, limit=p.limit) for p in parts) + text
    (folder / f"{name}.toml").write_text(text)
    for part in parts:
        if isinstance(part, Learned):
            _write_arrays(folder, name, member, part)


def _write_arrays(folder: Path, name: str, member: str, detector: Learned) -> None:
    data = to_bytes({(member, detector.feature): dict(detector.fit)})
    (folder / f"{name}.npz").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    (folder / f"{name}.calibration.toml").write_text(
        f'[arrays]\nfile = "{name}.npz"\nsha256 = "{digest}"\n\n'
        + model_table(member, model_keys(detector.model.card))
    )
