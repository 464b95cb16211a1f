# SPDX-License-Identifier: Apache-2.0
"""calibration.toml: what was fitted, on how many tracks, at which alpha.

[data], [model.MEMBER], [temperature], [thresholds.CHANNEL.OPERATION], [detector.NAME] with what it
measured in [detector.NAME.definition], [arrays], [contents] with the hash of all of them. Read by
`edgeguard.config`. Arrays lie beside it in an .npz, which [arrays] names with its hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.config.calibration import arrays_named, edited, own_sha256
from edgeguard.config.fixed import ONE
from edgeguard.config.toml import parse
from edgeguard.config.toml import read as read_toml
from edgeguard.errors import ConfigError
from edgeguard.evidence.calibration import SIDES, Calibration

_HEAD = """\
# Written by `edgeguard calibrate`; run it again rather than edit: a changed number is refused. A
# limit of your own belongs in guard.toml. Whoever changes a model or its card, a quorum, who may
# suggest what, or the debounce of a detector's cause has to calibrate again.
#
# What the numbers promise assumes that later tracks are drawn like the calibration tracks
# (exchangeable). The unit is the track.
# [thresholds]: of what an operation accepts in a track, on average at most a share alpha is wrong;
#   this sentence is false with a chance of delta (Learn-then-Test, fixed sequence).
# [detector]: a new track makes the detector's debounced cause fire with a chance of at most alpha,
#   which is max_false_trips_per_hour at the camera's rate (split conformal).
"""

_DEPTHS = {"data": 1, "model": 2, "temperature": 1, "thresholds": 3, "detector": 2}
"""So many tables lie in each other."""


def digest(*arrays: npt.NDArray[Any]) -> str:
    """SHA-256 in hex of arrays as they were used: shapes, dtypes and bytes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def fitted_on_frames(path: Path, models: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a file that is to be written anew by who has no frames; empty when it has
    nothing that took frames. Raises ConfigError when that was fitted to other model files or cards,
    or changed since."""
    old = read_toml(path)[0] if path.exists() else {}
    misshapen = _misshapen(old)
    if misshapen:
        raise ConfigError(
            f"{path}: {misshapen}: is not as `edgeguard calibrate` writes it; give --data as well,"
            " or remove the file"
        )
    if "tracks" not in old.get("data", {}):
        return {}
    if old.get("model", {}) != dict(models):
        raise ConfigError(
            f"{path}: holds what was fitted on frames to other model files or cards than guard.toml"
            " names now; give --data as well, or remove the file"
        )
    wrong = edited(old)
    if wrong:
        raise ConfigError(
            f"{path}: contents.sha256: {wrong}; give --data as well, or remove the file"
        )
    return old


def _misshapen(tables: Mapping[str, Any]) -> str | None:
    """The first table of a file that is none, or holds none where it has to."""
    for name, depth in _DEPTHS.items():
        if not _nested(tables.get(name, {}), depth):
            return name
    return "arrays" if "arrays" in tables and arrays_named(tables) is None else None


def _nested(value: object, depth: int) -> bool:
    """Tables in tables, as deep as that."""
    if depth == 0:
        return True
    return isinstance(value, dict) and all(_nested(one, depth - 1) for one in value.values())


def to_toml(
    found: Calibration,
    models: Mapping[str, Mapping[str, Any]],
    rates: Mapping[str, float],
    definitions: Mapping[str, Mapping[str, Any]],
    data: dict[str, Any],
    arrays: dict[str, str],
    kept: Mapping[str, Any] = {},
) -> str:
    """The text of calibration.toml.

    models: the keys of [model.NAME], by member; rates: false trips per hour that were asked for, by
    detector with a number; definitions: what was measured, by detector of which anything was found;
    data: the keys of [data]; arrays: file and sha256, or empty; kept: tables of the file before,
    which stay where nothing new was found.
    """
    parts = [
        _HEAD,
        _table(("data",), kept.get("data", {}) | data),
        *(model_table(name, keys) for name, keys in models.items()),
        _table(("temperature",), kept.get("temperature", {}) | found.temperature),
    ]
    for channel, operations in kept.get("thresholds", {}).items():
        for operation, keys in operations.items():
            parts.append(_table(("thresholds", channel, operation), keys))
    for (channel, operation), threshold in found.threshold.items():
        wish = found.asked[channel, operation]
        keys = {
            "certainty": threshold.value / ONE,
            "quorum": wish.quorum,
            "granted": sorted(wish.granted),
            "heard": sorted(wish.heard),
            "n_tracks": threshold.n_tracks,
            "alpha": _round(threshold.alpha),
            "delta": _round(threshold.delta),
            "coverage": _round(threshold.coverage),
        }
        parts.append(_table(("thresholds", channel, operation), keys))
    for name, keys in kept.get("detector", {}).items():
        parts += [] if name in definitions else _detector(name, keys)
    for name, definition in definitions.items():
        numbers = _numbers(found, name, rates[name]) if name in rates else {}
        parts += _detector(name, numbers | {"definition": definition})
    parts += [_table(("arrays",), arrays)] if arrays else []
    text = "\n".join(parts)
    contents = {"sha256": own_sha256(parse(text, Path("calibration.toml")))}
    return "\n".join([text, _table(("contents",), contents)])


def model_table(name: str, keys: Mapping[str, Any]) -> str:
    """[model.NAME] with the keys of `edgeguard.config.definition.model_keys`."""
    return _table(("model", name), keys)


def _detector(name: str, keys: Mapping[str, Any]) -> list[str]:
    """Its table, and that of what it measured."""
    own = {key: value for key, value in keys.items() if key != "definition"}
    tables = ((("detector", name), own), (("detector", name, "definition"), keys.get("definition")))
    return [_table(path, entries) for path, entries in tables if entries]


def _numbers(found: Calibration, name: str, rate: float) -> dict[str, Any]:
    limits = {side: found.limit[name, side] for side in SIDES if (name, side) in found.limit}
    keys: dict[str, Any] = dict(found.line.get(name, {}))
    if not limits:
        return keys
    keys |= {side: limit.value / ONE for side, limit in limits.items()}
    keys["n_tracks"] = min(limit.n_tracks for limit in limits.values())
    keys["alpha"] = _round(sum(limit.alpha for limit in limits.values()))
    keys["max_false_trips_per_hour"] = float(rate)
    return keys


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _table(path: tuple[str, ...], keys: Mapping[str, Any]) -> str:
    lines = [f"[{'.'.join(_key(part) for part in path)}]"]
    lines += [f"{_key(key)} = {_value(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    return json.dumps(value) if isinstance(value, str | list) else repr(value)
