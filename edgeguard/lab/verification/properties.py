# SPDX-License-Identifier: Apache-2.0
"""Properties of a file that a user writes in TOML, and what was proved of them.

::

    [[property]]
    name = "never priority road in the dark"
    box = { low = 0.0, high = 0.1 }        # real input values, or lists of them
    score = { 12 = 1.0, 14 = -1.0 }        # a weighted sum of real scores ...
    at_most = 0.0                          # ... and what it may be; at_least as well, or both

    [[property]]
    name = "stop stays stop"
    pictures = "stop.npz"                  # x uint8 [N, H, W, C]; a box around each
    radius = 2                             # grey levels
    label = 14                             # strictly the largest score

    [[property]]
    name = "range"
    box = { low = 0.0, high = 1.0 }
    range = true                           # bounds of every score; nothing to violate

Scores are real numbers (dequantized). A property holds when it is proved for every box, is
violated when the deployed file shows an input that breaks it, and is open otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeguard.config import toml
from edgeguard.errors import ConfigError
from edgeguard.lab.verification import crown
from edgeguard.lab.verification.attack import Attack
from edgeguard.lab.verification.interval import Bounds, bounds
from edgeguard.lab.verification.net import Net
from edgeguard.lab.verification.pixels import Pixels
from edgeguard.lab.verification.runtime import Runtime
from edgeguard.npz import read_npz

KEYS = {"name", "box", "pictures", "radius", "score", "at_least", "at_most", "label", "range"}
BATCH = 16


@dataclass(frozen=True)
class Property:
    """Boxes of input integers, and rows [R, K] over real scores that must reach ``least`` [R].

    strict: they must exceed it. No rows: only the range is asked for.
    """

    name: str
    low: Tensor
    high: Tensor
    rows: Tensor
    least: Tensor
    strict: bool


@dataclass(frozen=True)
class Finding:
    """says: holds, violated, open or range; boxes proved of n; ranges [K, 2] of the real scores
    over all boxes; input: integers that violate it, out of which box."""

    name: str
    says: str
    proved: int
    n: int
    ranges: list[list[float]]
    input: Tensor | None = None
    box: int | None = None


def read_properties(path: Path, net: Net) -> list[Property]:
    """Read a file of properties for a net. Raises ConfigError that names property and key."""
    content = toml.read(path)[0]
    tables = content.pop("property", None)
    if content:
        raise ConfigError(f"{path}: unknown key {min(content)}; properties are [[property]]")
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"{path}: has no [[property]]")
    found: list[Property] = []
    for number, table in enumerate(tables, 1):
        found.append(_property(path, number, table, net))
        if any(other.name == found[-1].name for other in found[:-1]):
            raise ConfigError(
                f"{path}: property {number}: name: another one is called {found[-1].name}"
            )
    return found


def _property(path: Path, number: int, table: Any, net: Net) -> Property:
    where = f"{path}: property {number}"
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: want a table; write [[property]]")
    unknown = sorted(set(table) - KEYS)
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]}; known: {', '.join(sorted(KEYS))}")
    name = table.get("name")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{where}: name: want a text")
    low, high = _boxes(path, f"{where} ({name})", table, net)
    rows, least, strict = _rows(f"{where} ({name})", table, net)
    return Property(name, low, high, rows, least, strict)


def _boxes(path: Path, where: str, table: Mapping[str, Any], net: Net) -> tuple[Tensor, Tensor]:
    if ("box" in table) == ("pictures" in table):
        raise ConfigError(f"{where}: want one of box and pictures")
    if "radius" in table and "pictures" not in table:
        raise ConfigError(f"{where}: radius: belongs to pictures; widen the box itself")
    if "pictures" in table:
        return _around(path, where, table, net)
    box = table["box"]
    if not isinstance(box, dict) or set(box) != {"low", "high"}:
        raise ConfigError(f"{where}: box: want {{ low = ..., high = ... }}")
    low, high = (_end(f"{where}: box.{key}", box[key], net) for key in ("low", "high"))
    if bool((low > high).any()):
        raise ConfigError(f"{where}: box: low is above high")
    return net.input.steps(low), net.input.steps(high)


def _around(path: Path, where: str, table: Mapping[str, Any], net: Net) -> tuple[Tensor, Tensor]:
    """Boxes around pictures."""
    name, radius = table["pictures"], table.get("radius", 0)
    if not isinstance(name, str):
        raise ConfigError(f"{where}: pictures: want the name of a file")
    file = path.parent / name
    x = read_npz(file).get("x")
    if x is None or x.dtype != np.uint8 or x.ndim != 4 or not len(x):
        raise ConfigError(f"{where}: pictures: {file} has no x of uint8 [N, H, W, C], N > 0")
    if type(radius) is not int or not 0 <= radius <= 255:
        raise ConfigError(f"{where}: radius: want whole grey levels from 0 to 255")
    pixels = Pixels.of(net)
    pixels.fit(f"{where}: pictures: {file}", x)
    return pixels.box(x, radius)


def _is_number(value: Any) -> bool:
    """Whether a value of TOML, which also has inf, nan and integers of any size, is finite."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max


def _end(where: str, value: Any, net: Net) -> Tensor:
    values = value if isinstance(value, list) else [value]
    count = int(np.prod(net.shape))
    if len(values) not in (1, count) or not all(_is_number(v) for v in values):
        raise ConfigError(f"{where}: want 1 or {count} finite numbers, has {len(values)}")
    real = torch.tensor([float(v) for v in values], dtype=torch.float64)
    return real.reshape(-1).expand(count).reshape(1, *net.shape)


def _rows(where: str, table: Mapping[str, Any], net: Net) -> tuple[Tensor, Tensor, bool]:
    """Rows over real scores and the least value of each."""
    kinds = [key for key in ("score", "label", "range") if key in table]
    if len(kinds) != 1:
        raise ConfigError(f"{where}: want one of score, label and range")
    ends = {key: table[key] for key in ("at_least", "at_most") if key in table}
    if ends and kinds != ["score"]:
        raise ConfigError(f"{where}: {next(iter(ends))}: belongs to score, not to {kinds[0]}")
    classes = net.layers[net.output - 1].shape[0]
    one = torch.eye(classes, dtype=torch.float64)
    if kinds == ["range"]:
        if table["range"] is not True:
            raise ConfigError(f"{where}: range: want true")
        return one[:0], torch.zeros(0, dtype=torch.float64), False
    if kinds == ["label"]:
        label = table["label"]
        if type(label) is not int or not 0 <= label < classes:
            raise ConfigError(f"{where}: label: want a class from 0 to {classes - 1}")
        others = [k for k in range(classes) if k != label]
        return one[label] - one[others], torch.zeros(classes - 1, dtype=torch.float64), True
    row = _weights(where, table["score"], classes)
    if not ends or not all(_is_number(v) for v in ends.values()):
        raise ConfigError(f"{where}: score needs a finite number at_least or at_most, or both")
    signs = [(1.0 if key == "at_least" else -1.0) for key in ends]
    limits = [s * float(v) for s, v in zip(signs, ends.values(), strict=True)]
    least = torch.tensor(limits, dtype=torch.float64)
    return torch.stack([s * row for s in signs]), least, False


def _weights(where: str, table: Any, classes: int) -> Tensor:
    row = torch.zeros(classes, dtype=torch.float64)
    known = {str(k) for k in range(classes)}
    if not isinstance(table, dict) or not table:
        raise ConfigError(f"{where}: score: want {{ CLASS = WEIGHT, ... }}")
    for key, weight in table.items():
        if key not in known or not _is_number(weight):
            raise ConfigError(
                f"{where}: score.{key}: want a class below {classes} and a finite number"
            )
        row[int(key)] = float(weight)
    return row


def judge(net: Net, runtime: Runtime, wanted: Property, attack: Attack | None = None) -> Finding:
    """Prove or refute a property on the deployed file."""
    attack = attack or Attack()
    grid = net.grid(net.output)
    n, proved, ends = len(wanted.low), 0, []
    for start in range(0, n, BATCH):
        low, high = (t[start : start + BATCH] for t in (wanted.low, wanted.high))
        found = bounds(net, low, high)
        ends.append(_ranges(net, found))
        if not len(wanted.rows):
            continue
        least = _least(net, found, wanted.rows)
        short = wanted.least if not wanted.strict else wanted.least + 1e-9
        proof = (least >= short).all(1)
        proved += int(proof.sum())
        for i in np.flatnonzero(~proof.numpy()):
            breaks = _refute(net, runtime, wanted, attack, low[i : i + 1], high[i : i + 1])
            if breaks is not None:
                ranges = _hull(ends, grid.scale, grid.zero)
                return Finding(wanted.name, "violated", proved, n, ranges, breaks, start + int(i))
    says = "range" if not len(wanted.rows) else "holds" if proved == n else "open"
    return Finding(wanted.name, says, proved, n, _hull(ends, grid.scale, grid.zero))


def _least(net: Net, found: Bounds, rows: Tensor) -> Tensor:
    """Lower bounds [N, R] of rows over real scores."""
    grid = net.grid(net.output)
    n = len(found.low[0])
    steps = crown.Crown(net, found).least(net.output, rows.expand(n, -1, -1))
    offset = rows.sum(1) * grid.zero
    return (steps - offset) * grid.scale


def _ranges(net: Net, found: Bounds) -> Tensor:
    """Ends [K, 2] of the scores over the boxes, by intervals and CROWN; integers if they are."""
    layer = net.layers[net.output - 1]
    one = torch.eye(layer.shape[0], dtype=torch.float64)
    n = len(found.low[0])
    both = crown.Crown(net, found).least(net.output, torch.cat([one, -one]).expand(n, -1, -1))
    low, high = both[:, : len(one)], -both[:, len(one) :]
    if not getattr(layer, "raw", False):
        low, high = low.ceil(), high.floor()
    low = torch.maximum(low, found.low[net.output])
    high = torch.minimum(high, found.high[net.output])
    return torch.stack([low.amin(0), high.amax(0)], 1)


def _hull(ends: list[Tensor], scale: float, zero: int) -> list[list[float]]:
    every = torch.stack(ends)
    hull = torch.stack([every[..., 0].amin(0), every[..., 1].amax(0)], 1)
    real: list[list[float]] = ((hull - zero) * scale).tolist()
    return real


def _refute(net: Net, runtime: Runtime, wanted: Property, attack: Attack, low: Tensor, high: Tensor
            ) -> Tensor | None:  # fmt: skip
    """An input of a box that breaks a row on the deployed file."""
    grid = net.grid(net.output)
    for row, least in zip(wanted.rows, wanted.least, strict=True):
        tried = attack.along(net, low, high, row)
        scores = (runtime.run(tried) - grid.zero) * grid.scale
        value = scores @ row
        breaks = value <= least if wanted.strict else value < least
        if bool(breaks.any()):
            return tried[int(value.argmin())]
    return None
