# SPDX-License-Identifier: Apache-2.0
"""What a demo has to say: one row for each event, the totals, and their bars."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from attrs import frozen

from edgeguard.config import bounds
from edgeguard.figures import Figure, at_least, at_most
from edgeguard.streams.faults import Perturbed
from edgeguard.streams.programme import Entry
from edgeguard.streams.run import Run, Verdict

KMH = 3.6
AVAILABLE = 0.95


@frozen
class Results:
    """The four drives of a demo: guard and bare model, clean and with events."""

    entries: list[Entry]
    clean: Run
    guard: Run
    bare: Run

    @property
    def rows(self) -> list[Row]:
        """One for each event."""
        trio = zip(self.entries, self.guard.verdicts, self.bare.verdicts, strict=True)
        return [Row(entry, guard, bare, self) for entry, guard, bare in trio]

    @property
    def safe_stops(self) -> int:
        """SAFE_STOPs of the guard; no event of the programme calls for one."""
        return self.clean.safe_stops + self.guard.safe_stops


class Row(NamedTuple):
    """One event: what the bare model and the guard made of it."""

    entry: Entry
    guard: Verdict
    bare: Verdict
    results: Results

    @property
    def at(self) -> str:
        """When it began."""
        seconds = self.entry.event.start / 10
        return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"

    @property
    def bare_said(self) -> str:
        """The bare model's command at its worst."""
        run, limit = self.results.bare, self.results.bare.stream.safe
        ticks = self._ticks(run, self.bare.wrong)
        if not len(ticks):
            return f"{_span(self.bare)}, safe"
        worst = ticks[np.argmax(run.timeline.command[ticks] - limit.top[ticks])]
        command, top = run.timeline.command[worst] * KMH, limit.top[worst] * KMH
        what = f"at most {top:.0f} allowed" if command > top + 0.01 else "rising, not allowed"
        return f"{command:.0f} km/h, {what}; {self.bare.wrong / 100:.1f} s outside"

    @property
    def guard_said(self) -> str:
        """The guard's commands and the cause that acted."""
        cause = self.guard.cause or "outvoted"
        wrong = f"; {self.guard.wrong / 100:.1f} s OUTSIDE" if self.guard.wrong else ""
        return f"{_span(self.guard)}, {cause}{wrong}"

    @property
    def to_safe(self) -> str:
        """Time to the safe command."""
        return _ms(self.guard.to_safe_ms)

    @property
    def away(self) -> str:
        """Time outside NOMINAL and DEGRADED."""
        return _s(self.guard.away_ms)

    @property
    def recovered(self) -> str:
        """Time from the end of the fault to NOMINAL."""
        return _s(self.guard.recover_ms)

    def _ticks(self, run: Run, wrong: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """The wrong ticks of this event: the first `wrong` from its onset."""
        start = run.tick(self.entry.event.start)
        return np.flatnonzero(run.wrong[start:])[:wrong] + start


def _span(verdict: Verdict) -> str:
    low, high = round(verdict.lowest * KMH), round(verdict.highest * KMH)
    return f"{low} km/h" if low == high else f"{low} to {high} km/h"


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f} ms"


def _s(value_ms: float | None) -> str:
    return "not yet" if value_ms is None else f"{value_ms / 1000:.1f} s"


def figures(results: Results) -> list[Figure]:
    """Everything that the demo measured, with its bars."""
    return [*_totals(results), *_attacks(results), *_injections(results)]


def failures(found: list[Figure]) -> list[Figure]:
    """The figures whose bar does not hold."""
    return [figure for figure in found if figure.holds is False]


def _totals(results: Results) -> Iterator[Figure]:
    clean, guard, bare = results.clean, results.guard, results.bare
    ticks = guard.stream.ticks
    attacked = [row for row in results.rows if isinstance(row.entry.event.fault, Perturbed)]
    yield at_most("demo.wrong_commands", int(guard.wrong.sum()), 0, "ticks", ticks)
    yield at_most("guard.clean.wrong_commands", int(clean.outside.sum()), 0, "ticks", ticks)
    yield at_least("guard.availability.clean", round(clean.availability, 4), AVAILABLE, n=ticks)
    counted = int(guard.counted.sum())
    yield at_least("demo.availability", round(guard.availability, 4), AVAILABLE, n=counted)
    yield at_most("demo.safe_stops_unneeded", results.safe_stops, 0, "stops", 2 * ticks)
    yield Figure("demo.bare.wrong_commands", int(bare.wrong.sum()), "ticks", ticks)
    if attacked:
        fooled = sum(row.bare.wrong > 0 for row in attacked)
        n = len(attacked)
        yield at_least("demo.bare.attacks_through", fooled, n, "attacked tracks", n)


def _attacks(results: Results) -> Iterator[Figure]:
    for row in results.rows:
        if not isinstance(row.entry.event.fault, Perturbed):
            continue
        name = f"demo.{row.entry.name}"
        yield at_most(f"{name}.wrong_commands", row.guard.wrong, 0, "ticks")
        yield Figure(f"{name}.bare.wrong_commands", row.bare.wrong, "ticks")
        if row.guard.to_safe_ms is not None:
            yield Figure(f"{name}.time_to_safe_ms", row.guard.to_safe_ms, "ms")


def _injections(results: Results) -> Iterator[Figure]:
    """Faults of the catalogue; each happens once in the demo."""
    limit = bounds(results.guard.config)
    for row in results.rows:
        fault, said = row.entry.event.fault, row.guard
        if not fault.id:
            continue
        name, right = f"inject.{fault.id}", said.cause in fault.causes
        yield Figure(f"{name}.injections", 1, "injections")
        yield at_most(f"{name}.wrong_commands", said.wrong, 0, "ticks")
        yield at_least(f"{name}.cause_right", int(right), 1, "injections", 1)
        most = limit[fault.causes[0]].constant_ms
        late = float("inf") if said.to_safe_ms is None else said.to_safe_ms
        yield at_most(f"{name}.time_to_safe_ms_max", late, most, "ms", 1)
