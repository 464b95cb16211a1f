# SPDX-License-Identifier: Apache-2.0
"""Figures: measured numbers with their bars, in the one shape that every command writes."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from edgeguard import written
from edgeguard.errors import EdgeguardError


@frozen
class Figure:
    """One number. `bar` says in words what it has to be, `holds` whether it is."""

    id: str
    value: float
    unit: str = "1"
    n: int | None = None
    interval: tuple[float, float] | None = None
    bar: str | None = None
    holds: bool | None = None


def at_most(id: str, value: float, most: float, unit: str = "1", n: int | None = None) -> Figure:
    """A figure that may not be above `most`."""
    return Figure(id, value, unit, n, None, f"<= {most:g}", value <= most)


def at_least(id: str, value: float, least: float, unit: str = "1", n: int | None = None) -> Figure:
    """A figure that may not be below `least`."""
    return Figure(id, value, unit, n, None, f">= {least:g}", value >= least)


def document(
    figures: Sequence[Figure | Mapping[str, Any]], seed: int | None, packages: Sequence[str]
) -> dict[str, Any]:
    """The results file: figures (with more keys, where a command has more to say), machine,
    versions, seed, date."""
    return {
        "figures": [_plain(f) for f in figures],
        "machine": f"{platform.machine()} {cpu()}",
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "seed": seed,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _plain(figure: Figure | Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows finite numbers only: a value that was never reached is null."""
    table = asdict(figure) if isinstance(figure, Figure) else figure
    plain = {key: value for key, value in table.items() if value is not None}
    return plain if math.isfinite(plain.get("value", 0)) else plain | {"value": None}


def rows(file: Path) -> list[Mapping[str, Any]]:
    """The figures of a results file. Raises EdgeguardError for what is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["figures"]
        if all({"id", "value"} <= row.keys() for row in found):
            return list(found)
    except OSError as error:
        raise EdgeguardError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise EdgeguardError(f"{file}: no results file; want one that a command wrote with --json")


def check_writable(path: Path, *read: Path | None) -> None:
    """Raise EdgeguardError, before hours of measuring, if there is no folder for a results file, or
    if it would replace one of the files that are read."""
    if str(path) == "-":
        raise EdgeguardError("--json -: want a file; to the screen it is /dev/stdout")
    written.apart("--json", path, *read)
    writable(path)


def writable(path: Path) -> None:
    """Raise EdgeguardError where a file cannot be written."""
    if not path.parent.is_dir():
        raise EdgeguardError(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise EdgeguardError(f"{path}: is a folder; want a file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise EdgeguardError(f"{path}: may not be written")


def write(
    path: Path,
    figures: Sequence[Figure | Mapping[str, Any]],
    seed: int | None,
    packages: Sequence[str],
) -> None:
    """Write a results file, valid JSON. Raises EdgeguardError where it cannot be written;
    ValueError for an infinity or NaN anywhere but in a figure's value."""
    text = json.dumps(document(figures, seed, packages), indent=1, allow_nan=False)
    written.text(path, text + "\n")


def version(package: str) -> str:
    """Version of an installed package, or 'none'."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def cpu() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
