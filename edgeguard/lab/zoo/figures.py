# SPDX-License-Identifier: Apache-2.0
"""Figures in the shape of every results file: id, value, unit, n, interval, bar, holds."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    p, zz = hits / n, z * z
    middle, half = p + zz / (2 * n), z * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    return (middle - half) / (1 + zz / n), (middle + half) / (1 + zz / n)


@dataclass(frozen=True)
class Figure:
    """One measured number and the bar that it has to clear, if any."""

    id: str
    value: float
    n: int
    interval: tuple[float, float]
    unit: str = "1"
    bar: str | None = None
    holds: bool | None = None


def rate(name: str, hits: int, n: int, bar: float | None = None) -> Figure:
    """A share of n as a figure; the bar is the least that it may be."""
    value = hits / n if n else 0.0
    return Figure(
        name,
        value,
        n,
        wilson(hits, n),
        bar=None if bar is None else f">= {bar:g}",
        holds=None if bar is None else value >= bar,
    )


def write(path: Path, found: Iterable[Figure], seed: int) -> None:
    """Write the results file."""
    packages = ("numpy", "onnxruntime", "ai-edge-litert", "torch")
    document = {
        "figures": [asdict(f) for f in found],
        "machine": f"{platform.machine()} {cpu()}",
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "seed": seed,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def version(package: str) -> str:
    """Version of an installed package, or 'none'."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def cpu() -> str:
    """The processor's name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
