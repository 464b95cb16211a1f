# SPDX-License-Identifier: Apache-2.0
"""The timeline picture of a demo as SVG: what was allowed, what was commanded, modes and causes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.decision import CAUSES, Mode
from edgeguard.png import data_uri
from edgeguard.streams.report import Results
from edgeguard.streams.run import Run

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

KMH = 3.6
LEFT, PER_SECOND, TOP, TALL = 150, 11.0, 92, 260  # pixels
FASTEST = 130  # km/h at the upper end
LANE = 15
SIGN = 29  # thumbnails of the signs


STYLE = """\
svg { background: #ffffff; font: 11px system-ui, sans-serif; } polyline { fill: none; }
.grid { stroke: #dde2e8; } .axis { fill: #5b6877; } .forbidden { fill: #c6282814; }
.limit { stroke: #c62828; stroke-width: 1.2; } .no-rise { fill: #c62828; opacity: .55; }
.guard { stroke: #1565c0; stroke-width: 2.4; } .bare { stroke: #b4690e; stroke-width: 1.4; }
.car { stroke: #5b6877; stroke-dasharray: 3 2; } .outside { stroke: #c62828; stroke-width: 3.4; }
.event rect { fill: #7c4dff; opacity: .10; } .event circle { fill: #7c4dff; }
.event text { fill: #ffffff; font-weight: 700; } .cause { fill: #5b6877; opacity: .75; }
.mode.NOMINAL { fill: #2e9e6b; } .mode.DEGRADED { fill: #e2b93b; }
.mode.FALLBACK { fill: #ef7d2f; } .mode.SAFE_STOP { fill: #c62828; }
"""


def picture(results: Results) -> str:
    """The picture as a file of its own, on white."""
    return svg(results, f"<style>{STYLE}</style>")


def svg(results: Results, style: str = "") -> str:
    """The picture as an <svg> element; in a page its colours come from the page's style."""
    guard, bare = results.guard, results.bare
    lanes = _acting(guard)
    below = TOP + TALL + 24
    height = below + LANE * (len(lanes) + 1) + 8
    width = LEFT + guard.stream.seconds * PER_SECOND + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'width="{width:.0f}" height="{height}" '
        'role="img" aria-label="speed target against the limit in force, over time">',
        style,
        *_signs(guard),
        *_events(results, below - 20),
        *_axes(guard, below),
        *_allowed(guard),
        _line(bare.timeline.command, "bare"),
        *(_line(bare.timeline.command, "outside", span) for span in _runs(bare.wrong)),
        _line(guard.timeline.speed, "car"),
        _line(guard.timeline.command, "guard"),
        *(_line(guard.timeline.command, "outside", span) for span in _runs(guard.wrong)),
        *_modes(guard, below),
        *_causes(guard, lanes, below + LANE),
        "</svg>",
    ]
    return "\n".join(parts)


def _x(tick: float) -> float:
    return LEFT + tick / 100 * PER_SECOND


def _y(metres_per_second: float) -> float:
    return TOP + TALL * (1 - metres_per_second * KMH / FASTEST)


def _runs(mask: Bools) -> Iterator[tuple[int, int]]:
    """[start, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _signs(run: Run) -> Iterator[str]:
    """The last frame of every track, where the sign is passed."""
    stream = run.stream
    for number, track in enumerate(stream.tracks):
        left = _x(number * stream.per_track * stream.ticks_per_frame) + 2
        name = escape(stream.name(track.label))
        yield (
            f'<image x="{left:.1f}" y="8" width="{SIGN}" height="{SIGN}" '
            f'preserveAspectRatio="none" href="{data_uri(track.frames[-1])}">'
            f"<title>{name}</title></image>"
        )


def _events(results: Results, bottom: int) -> Iterator[str]:
    """A band and a number for each event."""
    for number, row in enumerate(results.rows, 1):
        event = row.entry.event
        start = _x(results.guard.tick(event.start))
        width = max(_x(results.guard.tick(event.stop)) - start, 3)
        yield (
            f'<g class="event"><title>{number}: {escape(row.entry.title)}</title>'
            f'<rect x="{start:.1f}" y="58" width="{width:.1f}" height="{bottom - 58}"/>'
            f'<circle cx="{start + 9:.1f}" cy="56" r="9"/>'
            f'<text x="{start + 9:.1f}" y="60" text-anchor="middle">{number}</text></g>'
        )


def _axes(run: Run, below: int) -> Iterator[str]:
    right = _x(run.stream.ticks)
    for kmh in range(0, FASTEST + 1, 20):
        y = _y(kmh / KMH)
        yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="axis" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{kmh}</text>'
    yield f'<text class="axis" x="{LEFT - 8}" y="{TOP - 2}" text-anchor="end">km/h</text>'
    for seconds in range(0, round(run.stream.seconds) + 1, 10):
        x, y = _x(seconds * 100), TOP + TALL + 14
        yield f'<text class="axis" x="{x:.1f}" y="{y}" text-anchor="middle">{seconds} s</text>'


def _allowed(run: Run) -> Iterator[str]:
    """What lies above the limit is forbidden; where the command may not rise, a line says so."""
    top = run.stream.safe.top
    points = _points(top, (0, len(top)))
    yield (
        f'<polygon class="forbidden" points="{_x(0):.1f},{TOP} {points} {_x(len(top)):.1f},{TOP}"/>'
    )
    yield f'<polyline class="limit" points="{points}"/>'
    for start, stop in _runs(~run.stream.safe.may_rise):
        yield (
            f'<rect class="no-rise" x="{_x(start):.1f}" y="{TOP + TALL - 5}" '
            f'width="{_x(stop) - _x(start):.1f}" height="5">'
            "<title>stop, yield or no entry ahead: the command must not rise</title></rect>"
        )


def _line(values: Floats, kind: str, span: tuple[int, int] | None = None) -> str:
    span = span or (0, len(values))
    return f'<polyline class="{kind}" points="{_points(values, span)}"/>'


def _points(values: Floats, span: tuple[int, int], every: int = 5) -> str:
    """Coordinates of a line, without the points that lie straight between their neighbours."""
    start, stop = span
    at = np.unique(np.append(np.arange(start, stop, every), stop - 1))
    y = values[at]
    slope = np.diff(y) / np.maximum(np.diff(at), 1)
    bends = np.ones(len(at), bool)
    bends[1:-1] = np.abs(np.diff(slope)) > 1e-6
    return " ".join(f"{_x(i):.1f},{_y(v):.1f}" for i, v in zip(at[bends], y[bends], strict=True))


def _modes(run: Run, y: int) -> Iterator[str]:
    yield f'<text class="axis" x="{LEFT - 8}" y="{y + 11}" text-anchor="end">mode</text>'
    for mode in Mode:
        for start, stop in _runs(run.timeline.mode == int(mode)):
            yield _rect(start, stop, y, f"mode {mode.name}", mode.name)


def _acting(run: Run) -> list[tuple[str, Bools]]:
    """The causes that acted at all, with the ticks on which they did."""
    lanes: Sequence[tuple[str, Any]] = [
        (name, (run.timeline.causes >> np.uint32(i) & 1).astype(bool))
        for i, name in enumerate(CAUSES)
    ]
    return [(name, mask) for name, mask in lanes if mask.any()]


def _causes(run: Run, lanes: list[tuple[str, Bools]], y: int) -> Iterator[str]:
    for name, mask in lanes:
        yield f'<text class="axis" x="{LEFT - 8}" y="{y + 11}" text-anchor="end">{name}</text>'
        for start, stop in _runs(mask):
            yield _rect(start, stop, y, "cause", name)
        y += LANE


def _rect(start: int, stop: int, y: int, kind: str, name: str) -> str:
    width = max(_x(stop) - _x(start), 1.0)
    title = f"{name}, {start / 100:.2f} s to {stop / 100:.2f} s"
    return (
        f'<rect class="{kind}" x="{_x(start):.1f}" y="{y}" width="{width:.1f}" '
        f'height="{LANE - 2}"><title>{title}</title></rect>'
    )
