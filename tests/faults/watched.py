# SPDX-License-Identifier: Apache-2.0
"""A bench whose guard has detectors, by hand or calibrated."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from edgeguard.card import Card
from edgeguard.config import load
from edgeguard.config.definition import definition, model_keys
from edgeguard.config.detector_rows import ends
from edgeguard.evidence import embedding
from edgeguard.evidence.calibration_file import model_table
from edgeguard.zoo import models_dir
from tests.faults.bench import POLICY, Bench, write_policy

SIGNALS = """
[signal.throttle]
unit = "1"
range = [0.0, 1.0]

[signal.brake]
unit = "1"
range = [0.0, 1.0]

[signal.wheel]
unit = "m/s"
range = [0.0, 70.0]
"""


WHEEL = """
[detector.wheel]
kind = "association"
between = ["speed", "wheel"]
relation = "difference"
above = 1.0
below = -1.0
"""


DARK = """
[camera.front]
rate_hz = 10
max_age_ms = 250

[detector.dark]
kind = "image"
camera = "front"
feature = "mean"
cause = "IMAGE_UNHEALTHY"
below = 20.0
"""


def bench(folder: Path, *detectors: str) -> Bench:
    made = Bench(write_policy(folder, POLICY + SIGNALS + "".join(detectors)))
    made.signals |= {"throttle": 0.4, "brake": 0.0, "wheel": 20.0}
    return made


def acting(made: Bench) -> set[str]:
    """The active causes but for an operation that asks for more evidence, which is normal."""
    return set(made.decision.causes) - {"OPERATION_DENIED"}


RISK = """
[detector.risk]
kind = "risk"
max_false_trips_per_hour = 1.0
"""


def calibrated(folder: Path, fits, toml: str) -> Path:
    """guard.toml with arrays beside it, as `edgeguard calibrate` leaves them."""
    path = write_policy(
        folder, toml.replace("[guard]", '[guard]\ncalibration = "calibration.toml"')
    )
    watched = [name for name, what in fits if what == "risk"]
    known = load(path, calibrated=False).detectors if watched else {}
    defined = ""
    for name in filter(watched.__contains__, known):
        fits[name, "risk"]["limits"] = np.array(ends(known[name]))
        defined += f"[detector.{name}.definition]\n"
        defined += "".join(f"{k} = {json.dumps(v)}\n" for k, v in definition(known[name]).items())
    data = embedding.to_bytes(fits)
    (folder / "calibration.npz").write_bytes(data)
    cards = {}
    for name in ("one", "two", "three", "compact"):
        file = folder / f"{name}.card.json"
        if file.exists():
            cards[name] = Card.load(file)
    cards["compact"] = Card.beside(models_dir("gtsrb") / "compact.tflite")
    models = "".join(model_table(name, model_keys(card)) for name, card in cards.items())
    digest = hashlib.sha256(data).hexdigest()
    (folder / "calibration.toml").write_text(
        f'{models}\n{defined}\n[arrays]\nfile = "calibration.npz"\nsha256 = "{digest}"\n'
    )
    return path
