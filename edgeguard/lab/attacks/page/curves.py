# SPDX-License-Identifier: Apache-2.0
"""Curves of the page as <svg> elements: over the size of the change, queries, coverage."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from edgeguard.lab.attacks.alone import curve
from edgeguard.lab.attacks.corpus import Array
from edgeguard.lab.attacks.page.words import ATTACKS, View, section, share_below

WIDE, TALL, LEFT, TOP, BELOW, RIGHT = 340, 210, 38, 10, 34, 14  # pixels
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """Points in the units of the axes; y is a share. dashed: made on the float twin."""

    name: str
    points: Points
    dashed: bool = False


@dataclass(frozen=True)
class Mark:
    """One point with its interval in y."""

    name: str
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """From low to high; decades: logarithmic."""

    name: str
    low: float
    high: float
    decades: bool = False

    def at(self, value: float) -> float:
        """Where a value is, 0 to 1."""
        f: Callable[[float], float] = math.log10 if self.decades else float
        return (f(value) - f(self.low)) / (f(self.high) - f(self.low))

    def ticks(self) -> Iterator[float]:
        """Round values along it."""
        if self.decades:
            yield from (10.0**k for k in range(math.ceil(math.log10(self.low)),
                                               math.floor(math.log10(self.high)) + 1))  # fmt: skip
            return
        step = _round((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        yield from (k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1))


def _round(least: float) -> float:
    """The next number of 1, 2, 5, 10, 20, ... that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= least * (1 - 1e-9))


def curves(view: View) -> str:
    """All plots that the results have points for."""
    plots = [p for p in (*_over_size(view), *_over_queries(view), *_over_coverage(view)) if p]
    said = (
        "<p>Success over the size of the change counts a picture from the smallest change on that"
        " fooled the file; dashed: made on the float twin. Hazard over coverage has a point for"
        " each certainty that a member alone could ask for; the guard is the point that it is"
        " built for.</p>"
    )
    return section("Curves", f'{said}<div class="plots">{"".join(plots)}</div>') if plots else ""


def _over_size(view: View) -> Iterator[str]:
    for member in view.members:
        found = []
        for name, figure in view.attacks(member):
            about = view.about(figure)
            if about["threat"]["norm"] == "l2" and about["threat"]["radius"] is None:
                rows = view.rows(figure)
                sizes = np.where(rows["hit"], rows["size"], np.inf)
                found.append((about["attack"], sizes, name))
        ends = [s[np.isfinite(s)].max() for _, s, _ in found if np.isfinite(s).any()]
        if ends:
            axis = Axis("size of the change, L2", 0.0, float(max(ends)) * 1.05)
            lines = [Line(f"{ATTACKS.get(a, a)}, n = {len(s)}", _steps(s, axis), "float" in a)
                     for a, s, _ in found]  # fmt: skip
            yield _plot(f"{member}: fooled by a change of at most", axis, lines)


def _over_queries(view: View) -> Iterator[str]:
    for member in view.members:
        lines, most = [], 0.0
        for name, figure in view.attacks(member):
            if f"attack.{member}.{name}.median_queries" in view.figures:
                rows, about = view.rows(figure), view.about(figure)
                if about["threat"]["knowledge"] in ("scores", "labels"):
                    most = max(most, about["threat"]["queries"])
                    asked = np.where(rows["hit"], rows["queries"], np.inf)
                    lines.append((f"{ATTACKS[about['attack']]}, n = {len(asked)}", asked))
        if lines:
            axis = Axis("answers asked for", 1.0, most, decades=True)
            yield _plot(f"{member}: fooled by a black box within", axis,
                        [Line(name, _steps(asked, axis)) for name, asked in lines])  # fmt: skip


def _over_coverage(view: View) -> Iterator[str]:
    left = view.figures.get("guard.hazard.left_out")  # shown, and judged by nobody
    judged = 1 - left["value"] / left["n"] if left is not None and left["n"] else 1.0
    for hazard in view.of_attack("adaptive"):
        lines = []
        for member in view.members:
            single = view.figures.get(f"{hazard['id']}.alone.{member}")
            if single is not None and "kept" in single:
                rows = view.whole_part(single)
                points = [(at.coverage * judged, at.hazard) for at in curve(rows)]
                lines.append(Line(f"{member} alone, n = {len(rows['y'])}", points))
        coverage = view.figures["guard.clean.coverage"]["value"]
        low, high = hazard["interval"]
        mark = Mark(f"the guard, n = {hazard['n']}", coverage, hazard["value"], low, high)
        axis = Axis("clean coverage", 0.0, 1.0)
        radius = float(hazard["id"].removeprefix("guard.hazard.linf."))
        yield _plot(f"hazard at L-inf {radius:g}/255", axis, lines, mark)


def _steps(values: Array, axis: Axis) -> Points:
    """The share at or below every value, as the corners of steps from one end to the other."""
    inside = np.unique(np.clip(values[np.isfinite(values)], axis.low, axis.high))
    shares = share_below(values, inside)
    points, before = [(axis.low, 0.0)], 0.0
    for value, share in zip(inside.tolist(), shares.tolist(), strict=True):
        points += [(value, before), (value, share)]
        before = share
    return [*points, (axis.high, before)]


def _plot(title: str, axis: Axis, lines: Sequence[Line], mark: Mark | None = None) -> str:
    parts = [*_grid(axis)]
    for i, line in enumerate(lines):
        kind = f"curve c{i % 5}" + (" dashed" if line.dashed else "")
        points = " ".join(f"{_x(axis, x):.1f},{_y(y):.1f}" for x, y in line.points)
        told = f"<title>{escape(line.name)}</title>"
        parts.append(f'<polyline class="{kind}" points="{points}">{told}</polyline>')
    if mark is not None:
        x = _x(axis, mark.x)
        y, low, high = _y(mark.y), _y(mark.low), _y(mark.high)
        parts.append(
            f'<line class="point" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
            f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="4">'
            f"<title>{escape(mark.name)}</title></circle>"
        )
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDE} {TALL}" '
        f'role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>{_legend(lines, mark)}'
        "</figure>"
    )


def _x(axis: Axis, value: float) -> float:
    return LEFT + (WIDE - LEFT - RIGHT) * axis.at(value)


def _y(share: float) -> float:
    return TOP + (TALL - TOP - BELOW) * (1 - share)


def _grid(axis: Axis) -> Iterator[str]:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>'
    for tick in axis.ticks():
        x = _x(axis, tick)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TALL - BELOW}"/>'
        yield f'<text x="{x:.1f}" y="{TALL - BELOW + 14}" text-anchor="middle">{tick:g}</text>'
    middle = LEFT + (WIDE - LEFT - RIGHT) / 2
    yield f'<text x="{middle}" y="{TALL - 4}" text-anchor="middle">{escape(axis.name)}</text>'


def _legend(lines: Sequence[Line], mark: Mark | None) -> str:
    items = [
        f'<li><svg viewBox="0 0 26 8"><line class="curve c{i % 5}'
        f'{" dashed" if line.dashed else ""}" x1="1" x2="25" y1="4" y2="4"/></svg> '
        f"{escape(line.name)}</li>"
        for i, line in enumerate(lines)
    ]
    if mark is not None:
        items.append('<li><svg viewBox="0 0 26 8"><circle class="point" cx="13" cy="4" r="3"/>'
                     f"</svg> {escape(mark.name)}</li>")  # fmt: skip
    return f'<ul class="legend">{"".join(items)}</ul>'
