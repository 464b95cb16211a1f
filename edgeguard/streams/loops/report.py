# SPDX-License-Identifier: Apache-2.0
"""What the drives of the matrix add up to: figures with intervals and bars, and a table.

The unit is the track: shares of time are means over tracks, and their intervals come from drawing
tracks anew (bootstrap). Where no drive left the road that gives none; how many of them may is the
interval of `left_road` (Wilson). A maximum is the largest of its n, and has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import comb, exp, sqrt
from random import Random
from statistics import fmean, median

from rich.table import Table

from edgeguard.figures import Figure, at_least, at_most
from edgeguard.streams.loops.drive import PERIOD_S
from edgeguard.streams.loops.matrix import ABLATED, BARE, PROMPT, TAKEN, Row

STEP_MS = PERIOD_S * 1000
PROMPT_MS = 60.0
TURN_MS = 5.0
MISSES = 0.1
"""Share of the cells where the bare networks lose that the guard may miss."""
DRAWS = 400
FEWEST = 5
"""Tracks that an interval is drawn from."""
Interval = tuple[float, float]


def wilson(hits: int, n: int, z: float = 1.96) -> Interval:
    """95 % interval of a share (Wilson 1927)."""
    share, extra = hits / n, z * z / n
    middle = (share + extra / 2) / (1 + extra)
    half = z * sqrt(share * (1 - share) / n + extra / (4 * n)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)


def poisson(events: int) -> Interval:
    """95 % interval of an expected count (Garwood 1936)."""
    low = 0.0 if events == 0 else _root(lambda m: 1 - _at_most(events - 1, m) - 0.025)
    return low, _root(lambda m: 0.025 - _at_most(events, m))


def _at_most(events: int, mean: float) -> float:
    total, term = 0.0, exp(-mean)
    for k in range(events + 1):
        total += term
        term *= mean / (k + 1)
    return total


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 700.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return low


def drawn(values: Sequence[float]) -> Interval | None:
    """95 % interval of a mean over tracks; None where they are few or all alike, so that drawing
    them anew says nothing."""
    if len(values) < FEWEST or min(values) == max(values):
        return None
    rng = Random(len(values))
    means = sorted(fmean(rng.choices(values, k=len(values))) for _ in range(DRAWS))
    return means[DRAWS // 40], means[-DRAWS // 40 - 1]


def ranks(values: Sequence[float]) -> Interval | None:
    """At least 95 % interval of a median, between two of the values; None of fewer than six."""
    n, outside, k = len(values), 0.0, 0
    while outside + comb(n, k) / 2**n <= 0.025:
        outside, k = outside + comb(n, k) / 2**n, k + 1
    ordered = sorted(values)
    return (ordered[k - 1], ordered[n - k]) if k else None


def of(rows: Iterable[Row], cell: str, mode: str) -> list[Row]:
    """The drives of one cell."""
    return [r for r in rows if r["cell"] == cell and r["mode"] == mode]


def name(cell: str, mode: str) -> str:
    """drive.{cell}.{mode}, of a figure's id."""
    return f"drive.{cell.replace(' ', '_')}.{mode.replace(' ', '_')}"


def lost(row: Row) -> bool:
    """Whether a drive left the road or did not end its lap."""
    return row["off"] > 0 or not row["lap"]


# ----------------------------------------------------------------- figures


def figures(rows: Sequence[Row]) -> list[Figure]:
    """Of every cell and mode, then what has to hold over all."""
    found = []
    for cell in dict.fromkeys(r["cell"] for r in rows):
        for mode in dict.fromkeys(r["mode"] for r in rows if r["cell"] == cell):
            found += _of_cell(cell, mode, of(rows, cell, mode))
    return [*found, *_clean(rows), *_overall(rows)]


def _of_cell(cell: str, mode: str, some: Sequence[Row]) -> list[Figure]:
    at, n = name(cell, mode), len(some)
    laps = sum(r["lap"] for r in some)
    left = sum(r["off"] > 0 for r in some)
    found = [
        Figure(f"{at}.laps", laps / n, "1", n, wilson(laps, n)),
        Figure(f"{at}.left_road", left / n, "1", n, wilson(left, n)),
    ]
    for key, of_what in (("offroad", "off"), ("rule_share", "ruled"), ("held_share", "held")):
        shares = [r[of_what] / r["steps"] for r in some]
        found.append(Figure(f"{at}.{key}", fmean(shares), "1", n, drawn(shares)))
    for key in ("reward", "jerk_mps3"):
        values = [r[key] for r in some]
        found.append(Figure(f"{at}.{key}", fmean(values), "1", n, drawn(values)))
    found.append(Figure(f"{at}.deviation_m_max", max(r["deviation_m"] for r in some), "m", n))
    found.append(Figure(f"{at}.stops", sum(r["stops"] for r in some), "1", n))
    braking = max(r["behind_mps2"] for r in some)
    found.append(Figure(f"{at}.car_behind_brakes_mps2_max", braking, "m/s2", n))
    if mode in BARE.values() or cell == "clean":
        return found
    return [*found, *_times(cell, mode, some)]


def _times(cell: str, mode: str, some: Sequence[Row]) -> list[Figure]:
    """From the onset on, in the drives in which something was to take over."""
    at, found = name(cell, mode), []
    barred = cell in TAKEN and ABLATED not in mode
    for key, what in (("trip", "trip_ms"), ("safe", "onset_ms")):
        times = in_ms(some, key)
        if times:
            k, most = len(times), f"{at}.{what}_max"
            found.append(Figure(f"{at}.{what}_median", median(times), "ms", k, ranks(times)))
            found.append(
                at_most(most, max(times), PROMPT_MS, "ms", k) if barred and what == "onset_ms"
                else Figure(most, max(times), "ms", k)
            )  # fmt: skip
    if barred:
        never, onsets = (sum(r[key] for r in some) for key in ("unanswered", "onsets"))
        found.append(at_most(f"{at}.never_safe", never, 0, "1", onsets))
    return found


def in_ms(some: Iterable[Row], key: str) -> list[float]:
    """The longest of each drive, from an onset on. A microcontroller gives a command out in the
    turn after the frame's."""
    return [
        STEP_MS * r[key] + (TURN_MS if r["mode"] == "mcu" else 0.0)
        for r in some if r[key] is not None
    ]  # fmt: skip


def _clean(rows: Sequence[Row]) -> list[Figure]:
    on, off = of(rows, "clean", "on"), of(rows, "clean", "off")
    if not on or not off:
        return []
    n, hours = len(on), sum(r["steps"] for r in on) * PERIOD_S / 3600
    trips = sum(r["trips"] for r in on)
    low, high = poisson(trips)
    ratio = sum(r["reward"] for r in on) / sum(r["reward"] for r in off)
    at = "drive.clean.on"
    return [
        at_least(f"{at}.finished", sum(not lost(r) for r in on) / n, 1.0, "1", n),
        at_least(f"{at}.reward_ratio", ratio, 0.99, "1", n),
        at_most(f"{at}.rule_share_bar", fmean(r["ruled"] / r["steps"] for r in on), 0.01, "1", n),
        Figure(f"{at}.false_trips_per_hour", trips / hours, "1/h", n, (low / hours, high / hours)),
    ]


def missed(rows: Sequence[Row], on: str = "on") -> tuple[list[str], list[str]]:
    """Cells where the bare networks lose a run, and those of them where the guard does as well; on:
    "on", or "mcu" behind a microcontroller."""
    hard, failed = [], []
    for cell, off, guarded in _pairs(rows, on):
        hard += [cell] if any(map(lost, off)) else []
        failed += [cell] if any(map(lost, off)) and any(map(lost, guarded)) else []
    return hard, failed


def harmed(rows: Sequence[Row], on: str = "on") -> tuple[dict[str, int], int]:
    """By cell, drives that are lost with the guard and not without it, on the same track; and of
    how many."""
    found, n = {}, 0
    for cell, off, guarded in _pairs(rows, on):
        kept = {r["i"] for r in off if not lost(r)}
        both = [r for r in guarded if r["i"] in kept]
        n += len(both)
        if worse := sum(map(lost, both)):
            found[cell] = worse
    return found, n


def _pairs(rows: Sequence[Row], on: str) -> Iterator[tuple[str, list[Row], list[Row]]]:
    """Each cell that was driven with the guard: the drives without and with it, on tracks that the
    networks can drive when nothing is wrong."""
    wild = {r["i"] for r in of(rows, "clean", BARE[on]) if lost(r)}
    tame = [r for r in rows if r["i"] not in wild]
    for cell in dict.fromkeys(r["cell"] for r in rows):
        guarded = of(tame, cell, on)
        if guarded:
            yield cell, of(tame, cell, BARE[on]), guarded


def _overall(rows: Sequence[Row]) -> list[Figure]:
    found = []
    for on in BARE:
        hard, failed = missed(rows, on)
        at = "drive.matrix" if on == "on" else f"drive.matrix.{on}"
        worse, n = harmed(rows, on)
        if hard:
            share, prompt = len(failed) / len(hard), sum(c in PROMPT for c in failed)
            found += [
                at_most(f"{at}.missed_share", share, MISSES, "1", len(hard)),
                at_most(f"{at}.missed_prompt", prompt, 0, "1", len(hard)),
            ]
        if n:
            found.append(at_most(f"{at}.lost_by_the_guard_alone", sum(worse.values()), 0, "1", n))
    return found


def not_driven(driven: int, wanted: int) -> list[Figure]:
    """`drive.not_driven`, which fails, where drives that were asked for have no row."""
    lacking = wanted - driven
    return [at_most("drive.not_driven", lacking, 0, "1", wanted)] if lacking else []


# ------------------------------------------------------------------- table

COLUMNS = (
    "laps\noff", "\non", "off road\noff", "\non", "rule\ndrives", "safe ms\nmedian", "\nmax",
    "trip ms\nmedian", "\nmax", "deviation\nm", "held", "reward\noff", "\non", "jerk\noff", "\non",
)  # fmt: skip
WIDE, FEW, NARROW = 190, 7, 100
"""Below so many characters a line, the first so many columns alone; and who found it no more."""
ON = {"mcu": "behind the microcontroller"}
FOUND_BY = frozenset({"IMAGE_UNHEALTHY", "ASSOCIATION_BROKEN", "OPERATION_DENIED"})
"""Causes that say no more than the detectors behind them."""


def table(rows: Sequence[Row], mode: str = "on", width: int = WIDE) -> Table:
    """One line a cell; "on" is the mode that is given."""
    title = "Something goes wrong at second 3, but in `clean`"
    title += "" if mode == "on" else f"; on: {ON.get(mode, mode)}"
    made = Table(title=title, title_justify="left")
    made.add_column("\ncell", no_wrap=True)
    columns = COLUMNS if width >= WIDE else COLUMNS[:FEW]
    for column in columns:
        made.add_column(column, justify="right", no_wrap=True)
    if width >= NARROW:
        made.add_column("\nfound by", overflow="fold")
    failed = set(missed(rows, mode)[1]) if mode in BARE else set()
    for cell in dict.fromkeys(r["cell"] for r in rows):
        off, on = of(rows, cell, BARE.get(mode, "off")), of(rows, cell, mode)
        if on:
            said = [*_cells(off, on)[: len(columns)], _found_by(on)][: len(made.columns) - 1]
            made.add_row(cell, *said, style="red" if cell in failed else "")
    return made


def _found_by(on: Sequence[Row]) -> str:
    causes = {c for r in on for c in r["causes"]} - FOUND_BY
    return " ".join(sorted({d for r in on for d in r["detectors"]}) + sorted(causes))


def _cells(off: Sequence[Row], on: Sequence[Row]) -> list[str]:
    times = []
    for key in ("safe", "trip"):
        ms = in_ms(on, key) if on[0]["cell"] != "clean" else []
        times += [f"{median(ms):.0f}", f"{max(ms):.0f}"] if ms else ["-", "-"]
    both = _laps, _share("off"), _mean("reward"), _mean("jerk_mps3")
    pairs = [(said(off) if off else "-", said(on)) for said in both]
    (laps_off, laps), (gone_off, gone), (reward_off, reward), (jerk_off, jerk) = pairs
    return [
        laps_off, laps, gone_off, gone, _share("ruled")(on), *times,
        f"{max(r['deviation_m'] for r in on):.1f}", _share("held")(on), reward_off, reward,
        jerk_off, jerk,
    ]  # fmt: skip


def _laps(rows: Sequence[Row]) -> str:
    return f"{sum(r['lap'] for r in rows)}/{len(rows)}"


def _share(key: str) -> Callable[[Sequence[Row]], str]:
    return lambda rows: f"{fmean(r[key] / r['steps'] for r in rows):.1%}"


def _mean(key: str) -> Callable[[Sequence[Row]], str]:
    return lambda rows: f"{fmean(r[key] for r in rows):.0f}"
