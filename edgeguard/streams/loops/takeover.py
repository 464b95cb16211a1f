# SPDX-License-Identifier: Apache-2.0
"""How long a wrong command may last: a hard-over, or the last command held, for so many ms,
and then the rule. No guard and no camera take part; the guard's own times are drawn beside the
curve.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import asdict, define, frozen

from edgeguard.figures import Figure
from edgeguard.streams.loops.drive import NOTHING, ONSET, PERIOD_S, drive
from edgeguard.streams.loops.fault import Fault, Moment
from edgeguard.streams.loops.matrix import ALLOWED, BARE
from edgeguard.streams.loops.racing import Racing
from edgeguard.streams.loops.report import wilson
from edgeguard.streams.loops.steers import Said
from edgeguard.streams.loops.tracks import TEST
from edgeguard.streams.loops.vehicle import U8, Command

KINDS = {
    "hard over": (1, 2, 3, 4, 5, 6, 8, 10, 12),
    "held": (5, 10, 15, 20, 25, 30, 40, 50),
}
"""What the command is, and for how many steps."""
ALL = [(kind, many) for kind, steps in KINDS.items() for many in steps]
APART = 173  # steps between two onsets on one track, so that each finds another place
TICKS = (0, 20, 60, 100, 200, 400, 1000)
LONG = 100  # steps after the takeover in which it may still leave the road


@frozen
class Point:
    """How often the road was left."""

    kind: str
    ms: float
    runs: int
    left: int


@define
class Wrong:
    """The rule, but for some steps from the onset on."""

    kind: str
    steps: int
    onset: int
    side: float
    _held: float = 0.0

    def step(self, frame: U8 | None, moment: Moment, fault: Fault, t_ns: int) -> Said:
        """See `steers.Steers`."""
        since = moment.since + ONSET - self.onset
        wrong = 0 <= since < self.steps
        if not wrong:
            self._held = moment.signals["rule"]
        said = self.side if wrong and self.kind == "hard over" else self._held
        return Said(Command(said, moment.signals["rule_speed"]), not wrong)


def measure(
    tracks: int, places: int, kept: Path,
    shown: Callable[[Iterable[tuple[str, int]]], Iterable[tuple[str, int]]] = iter,
) -> list[Point]:  # fmt: skip
    """Drive every kind and time at so many places of so many tracks; what is kept is not driven
    again. shown: is given what is driven, and gives it back."""
    from firmware_bridge.campaign.store import Store

    store, found = Store(kept), []
    try:
        for kind, many in shown(ALL):
            name = f"{kind}/{tracks * places}"
            if many not in store.rows.get(name, {}):
                point = _point(kind, many, tracks, places)
                store.add([{"f": name, "i": many, **asdict(point)}])
            row = store.rows[name][many]
            found.append(Point(**{key: row[key] for key in Point.__annotations__}))
    finally:
        store.close()
    return found


def _point(kind: str, steps: int, tracks: int, places: int) -> Point:
    left = 0
    for seed in TEST[:tracks]:
        for place in range(places):
            onset = ONSET + APART * place
            side = 1.0 if (seed + place) % 2 else -1.0
            vehicle = Racing(seed, most_steps=onset + steps + LONG + 100, camera=False)
            left += drive(vehicle, Wrong(kind, steps, onset, side), seed, NOTHING).off > 0
            vehicle.close()
    return Point(kind, steps * PERIOD_S * 1000, tracks * places, left)


def figures(points: Sequence[Point]) -> list[Figure]:
    """`drive.takeover.{hard_over,held}.{ms}.left_road`."""
    return [
        Figure(
            f"drive.takeover.{p.kind.replace(' ', '_')}.{p.ms:g}.left_road", p.left / p.runs, "1",
            p.runs, wilson(p.left, p.runs),
        )
        for p in points
    ]  # fmt: skip


def words(points: Sequence[Point]) -> list[str]:
    """One line a point."""
    return [f"{p.kind:9} {p.ms:5.0f} ms: {p.left:3} of {p.runs} left the road" for p in points]


def own_times(rows: Path) -> dict[str, float]:
    """The guard's longest time to the rule's command by cell, of drives that were kept; of cells
    whose fault asks for a takeover."""
    found: dict[str, float] = {}
    text = rows.read_text(encoding="utf-8") if rows.exists() else ""
    for line in text[: text.rfind("\n") + 1].splitlines():  # the last may be cut off
        row = json.loads(line)
        asked = row["mode"] in BARE and row["cell"] not in ("clean", *ALLOWED)
        if asked and row["safe"] is not None:
            ms = row["safe"] * PERIOD_S * 1000
            found[row["cell"]] = max(ms, found.get(row["cell"], 0.0))
    return found


def draw(points: Sequence[Point], own_ms: dict[str, float], path: Path) -> None:
    """The curve as SVG. Raises ModuleNotFoundError without matplotlib."""
    plots: Any = import_module("matplotlib.figure")
    figure = plots.Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for kind in KINDS:
        some = [p for p in points if p.kind == kind]
        ends = [wilson(p.left, p.runs) for p in some]
        at = [p.ms for p in some]
        axes.plot(at, [100 * p.left / p.runs for p in some], marker="o", label=f"{kind}, then rule")
        axes.fill_between(at, *zip(*((100 * a, 100 * b) for a, b in ends), strict=True), alpha=0.2)
    for ms in sorted(set(own_ms.values())):
        axes.axvline(ms, color="green", alpha=0.35, linewidth=1)
    if own_ms:
        axes.plot([], [], color="green", alpha=0.5, label="the guard's longest times, a cell each")
    axes.set_xscale("symlog", linthresh=40)
    axes.set(xlabel="ms of a wrong command", ylabel="% of runs that leave the road", xlim=(0, 1100))
    axes.set_xticks(
        [0, 20, 60, 100, 200, 400, 1000], ["0", "20", "60", "100", "200", "400", "1000"]
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=8)
    figure.savefig(path)
