# SPDX-License-Identifier: Apache-2.0
"""Associations fitted on clean logs of signals: scale and offset of a relation, then its limits.

A log is cut into stretches of ten seconds, which take the place of tracks: every fourth fits the
line, the others set the limits (see ``conformal``). Neighbouring stretches of one drive are less
independent than two drives, so give many short logs rather than one long one.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.config.fixed import ONE
from edgeguard.errors import ConfigError
from edgeguard.evidence.conformal import UNREADABLE, Debounce, Limit, upper_limit
from edgeguard.evidence.tracks import Stream

Reals = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STRETCH_S = 10.0
LONGEST_GAP_S = 1.0  # between two samples of a log; a longer one ends the stretch
FEWEST = 8  # stretches
_SLACK_S = 1e-6  # more than the rounding of a Unix time in float64, less than any control period
_SAYS_NOTHING = -UNREADABLE  # inside every limit


@dataclass(frozen=True)
class Wish:
    """One association: its relation as the border reads it (``config.detector_rows``), the names of
    its operands, the declared range of both (Q16.16; None: no signal), which of "scale", "offset",
    "above", "below" to find, and what can be borne."""

    name: str
    spec: Mapping[str, Any]
    operands: tuple[str, ...]
    ranges: tuple[tuple[int, int] | None, ...]
    find: tuple[str, ...]
    debounce: Debounce
    max_false_trips_per_hour: float


@dataclass(frozen=True)
class Found:
    """``line`` holds scale and offset where they were asked for; ``limit`` is by side; ``tracks``
    are the residuals in Q16.16 of the stretches that the limits stand on."""

    line: dict[str, float]
    limit: dict[str, Limit]
    tracks: list[Ints]


Stretch = Mapping[str, Reals]


def read_logs(paths: Sequence[Path], period_us: int) -> list[Stretch]:
    """The stretches of CSV or JSONL files of signals, by name, one value each control period.

    A column ``t`` holds seconds that do not fall; every other column is a signal, a channel's
    command or a member's answer, under the name that guard.toml gives it. What is empty or no
    number is NaN; between two samples the last one holds. A drive that counts twice makes every
    promise false: raises ConfigError for a log that says what another says, under whatever name and
    in either format.
    """
    found: list[Stretch] = []
    seen: dict[str, Path] = {}
    for path in paths:
        columns = _columns(path)
        digest = hashlib.sha256()
        for name, column in sorted(columns.items()):
            digest.update(json.dumps([name, len(column)]).encode() + column.tobytes())
        same = seen.get(digest.hexdigest())
        if same is not None:
            raise ConfigError(f"{path}: holds the same drive as {same}; each may count once")
        seen[digest.hexdigest()] = path
        found += _stretches(columns, period_us)
    return found


def _stretches(columns: Mapping[str, Reals], period_us: int) -> list[Stretch]:
    return [
        {name: column[held] for name, column in columns.items() if name != "t"}
        for held in _held(columns["t"], period_us / 1e6)
    ]


def _columns(path: Path) -> dict[str, Reals]:
    """Every column of a log by name, ``t`` among them."""
    rows = _rows(path)
    if not rows:
        raise ConfigError(f"{path}: has no rows; want one for each sample, with the time as t")
    if "t" not in rows[0]:
        raise ConfigError(f'{path}: has no column "t" with the time in seconds')
    names = sorted({name for row in rows for name in row if name})
    columns = {name: np.array([_real(row.get(name)) for row in rows]) for name in names}
    if not np.isfinite(columns["t"]).all() or (np.diff(columns["t"]) < 0).any():
        raise ConfigError(f"{path}: t: every row needs a time in seconds that does not fall")
    return columns


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # Excel puts a mark before it
            if path.suffix == ".jsonl":
                return [dict(json.loads(line)) for line in file if line.strip()]
            reader = csv.DictReader(file)
            header, rows = reader.fieldnames or (), list(reader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, csv.Error) as error:
        raise ConfigError(f"{path}: is no log of signals: {error}") from None
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if "t" not in header and any(mark in column for column in header):
            raise ConfigError(
                f"{path}: its columns are separated by {name}; want commas, and points in numbers"
            )
    return rows


def _real(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _held(t: Reals, period_s: float) -> list[Ints]:
    """For each stretch, which row of the log each control tick sees."""
    starts = np.flatnonzero(np.r_[True, np.diff(t) > LONGEST_GAP_S + _SLACK_S])
    ends = np.r_[starts[1:], len(t)]
    per_stretch = round(STRETCH_S / period_s)
    found = []
    for first, end in zip(starts, ends, strict=True):
        passed_s = t[first:end] - t[first] - _SLACK_S
        ticks = int((passed_s[-1] + 2 * _SLACK_S) / period_s)
        seen = np.searchsorted(passed_s, np.arange(ticks) * period_s, side="right") - 1
        whole = [seen[i : i + per_stretch] + first for i in range(0, ticks, per_stretch)]
        found += [s for s in whole if len(s) == per_stretch]
    return found


def calibrate(stretches: Sequence[Stretch], wish: Wish, period_us: int) -> Found:
    """Fit the line where it is asked for, then find the limits.

    Raises ConfigError for logs that lack an operand, never change it or are too short,
    UnsupportedWishError for a rate that they cannot support.
    """
    pairs = [_pair(stretch, wish) for stretch in stretches]
    if len(pairs) < FEWEST:
        raise ConfigError(
            f"detector.{wish.name}: {len(pairs)} stretches of {STRETCH_S:g} s; give at least "
            f"{FEWEST}"
        )
    fitting = [pair for i, pair in enumerate(pairs) if i % 4 == 2]
    _refuse_still(wish, [np.concatenate(column) for column in zip(*pairs, strict=True)], "")
    line = _line(wish, fitting, period_us)
    spec = {**wish.spec, **{k: v for k, v in line.items() if k == "scale"}}
    if "offset" in line:
        spec["offset"] = round(line["offset"] * ONE)
    fitted, held = (
        [residual(spec, a, b, period_us) for i, (a, b) in enumerate(pairs) if (i % 4 == 2) is which]
        for which in (True, False)
    )
    stream = Stream(1e6 / period_us, period_us)
    if not all(any(np.isfinite(r).any() for r in part) for part in (fitted, held)):
        raise ConfigError(f"detector.{wish.name}: it never says a number on these logs")
    return Found(line, _limits(fitted, held, wish, stream), [_away(r, 0, 1, False) for r in held])


def _refuse_still(wish: Wish, columns: Sequence[Reals], where: str) -> None:
    """Raises ConfigError for an operand that stays as it is: any line passes through one point, and
    a limit is then as narrow as that point. One without any number is refused elsewhere."""
    there = [column[np.isfinite(column)] for column in columns]
    for operand, numbers in zip(wish.operands, there, strict=False):
        if all(map(len, there)) and numbers.max() - numbers.min() < 1 / ONE:
            raise ConfigError(
                f'detector.{wish.name}: "{operand}" is {numbers[0]:g} all along{where}, which shows'
                " nothing of what belongs together; give logs in which it changes"
            )


def residual(spec: Mapping[str, Any], a: Reals, b: Reals, period_us: int) -> Reals:
    """What the border computes on each tick [N]; NaN where it says nothing, infinite where an
    operand is invalid, which trips at every limit. Of operands NaN is absent, infinite invalid."""
    from edgeguard import _core

    return np.asarray(_core.association_batch(dict(spec), a, b, period_us), np.float64)


def _pair(stretch: Stretch, wish: Wish) -> tuple[Reals, Reals]:
    columns = []
    for operand, ends in zip(wish.operands, wish.ranges, strict=True):
        name = operand if operand in stretch else operand.partition(".")[2]
        if name not in stretch:
            raise ConfigError(
                f'detector.{wish.name}: the logs have no column "{operand}"; they have '
                + ", ".join(sorted(stretch))
            )
        columns.append(_as_seen(stretch[name], ends))
    return columns[0], columns[-1]


def _as_seen(values: Reals, ends: tuple[int, int] | None) -> Reals:
    """A signal that is missing or outside its range is not absent to the border but invalid:
    infinite. Commands and members' answers stay as they are."""
    if ends is None:
        return values
    with np.errstate(over="ignore"):
        q16 = np.rint(values * ONE)
    return np.where((q16 >= ends[0]) & (q16 <= ends[1]), values, np.inf)


def _line(wish: Wish, pairs: Sequence[tuple[Reals, Reals]], period_us: int) -> dict[str, float]:
    """Least squares of a over b, delayed as the relation says; rounded to what the file holds."""
    find = [key for key in ("scale", "offset") if key in wish.find]
    if not find:
        return {}
    lag = math.ceil(wish.spec["delay_us"] / period_us)
    a = np.concatenate([a[lag:] for a, _ in pairs])
    b = np.concatenate([b[: len(b) - lag] for _, b in pairs])
    seen = np.isfinite(a) & np.isfinite(b)
    if seen.sum() < 2:
        raise ConfigError(f"detector.{wish.name}: its operands are never there together")
    a, b = a[seen], b[seen]
    if "scale" in find:
        _refuse_still(wish, (a, b), " the stretches that the line is fitted to (every fourth)")
    a = -a if wish.spec["relation"] == "sum" else a
    known = np.zeros_like(a)
    if "scale" not in find:
        known = known + wish.spec["scale"] * b
    if "offset" not in find:
        known = known + wish.spec["offset"] / ONE
    terms = {"scale": b, "offset": np.ones_like(b)}
    matrix = np.stack([terms[key] for key in find], axis=1)
    fitted, *_ = np.linalg.lstsq(matrix, a - known, rcond=None)
    return {key: float(f"{value:.6g}") for key, value in zip(find, fitted, strict=True)}


def _limits(
    fitted: Sequence[Reals], held: Sequence[Reals], wish: Wish, stream: Stream
) -> dict[str, Limit]:
    """Two limits lie equally far from the middle and are found as one: a residual that swings from
    one to the other keeps the cause present, whichever it is beyond."""
    sides = [side for side in ("above", "below") if side in wish.find]
    if not sides:
        return {}
    both = len(sides) == 2
    sign = -1 if sides == ["below"] else 1
    spoken = np.concatenate(fitted)
    middle = round(float(np.median(spoken[np.isfinite(spoken)])) * ONE) if both else 0
    away = [_away(r, middle, sign, both) for r in held]
    found = upper_limit(away, stream, wish.debounce, wish.max_false_trips_per_hour)
    _refuse_silent(wish, found, away)
    if not both:
        return {sides[0]: replace(found, value=sign * found.value)}
    half = found.alpha / 2  # of what may trip, either side has its share
    return {side: replace(found, value=middle + s * found.value, alpha=half)
            for side, s in (("above", 1), ("below", -1))}  # fmt: skip


def _refuse_silent(wish: Wish, found: Limit, away: Sequence[Ints]) -> None:
    """A relation that hardly ever says anything keeps its promise without a limit, and would get
    one that nothing passes. Raises ConfigError."""
    if found.value != _SAYS_NOTHING:
        return
    speaks = sum(bool((a > _SAYS_NOTHING).any()) for a in away)
    raise ConfigError(
        f"detector.{wish.name}: says a number in {speaks} of {len(away)} stretches alone, too few"
        " to find a limit from; give logs in which it says more, or the limit itself"
    )


def _away(residuals: Reals, middle: int, sign: int, both: bool) -> Ints:
    """Q16.16 [N], larger is worse; far inside where the relation says nothing, beyond every limit
    where it is invalid."""
    readable = np.isfinite(residuals)
    q16 = np.rint(np.where(readable, residuals, 0.0) * ONE).astype(np.int64) - middle
    silent = np.where(np.isnan(residuals), _SAYS_NOTHING, UNREADABLE)
    return np.where(readable, np.abs(q16) if both else sign * q16, silent)
