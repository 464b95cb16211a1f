# SPDX-License-Identifier: Apache-2.0
"""A story as a page: one file, nothing loaded from anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from edgeguard.decision import Mode
from edgeguard.explain import Change, Span, Story

LEFT, WIDE, LANE, TALL = 190, 1140, 20, 120  # pixels
COLOURS = {
    "NOMINAL": "#2e9e6b", "DEGRADED": "#e2b93b", "FALLBACK": "#ef7d2f", "SAFE_STOP": "#c62828",
}  # fmt: skip

STYLE = """
body { margin: 0 auto; max-width: 1460px; padding: 24px; background: #f6f7f9; color: #16202c;
  font: 15px/1.5 system-ui, sans-serif; }
.card { background: #fff; border: 1px solid #dde2e8; border-radius: 10px; padding: 12px;
  overflow-x: auto; margin: 12px 0; }
svg { display: block; font: 12px system-ui, sans-serif; } text { fill: #5b6877; }
.cause { fill: #5b6877; } .line { fill: none; stroke: #1565c0; stroke-width: 1.6; }
.grid { stroke: #dde2e8; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; color: #5b6877; }
td, th { padding: 6px 10px; border-bottom: 1px solid #dde2e8; vertical-align: top; }
td.time { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
b { border-radius: 4px; padding: 1px 6px; color: #fff; font-weight: 600; font-size: 13px; }
""" + "".join(
    f".{name} {{ fill: {colour}; background: {colour}; }}\n" for name, colour in COLOURS.items()
)


def page(story: Story, title: str) -> str:
    """The page as HTML; title: what the log is called."""
    rows = "\n".join(_row(change, story.start_ns) for change in story.changes)
    seconds = (story.latest_ns - story.earliest_ns) / 1e9
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>
<body><h1>{escape(title)}</h1>
<p>{story.decisions:,} decisions in {seconds:.1f} s, {len(story.changes)} changes of mode,
{story.gaps} gaps. Times count from the first decision.</p>
<div class="card">{picture(story)}</div>
<div class="card"><table><thead><tr><th>at</th><th>from</th><th>to</th><th>first cause</th>
<th>what was seen</th></tr></thead><tbody>
{rows}
</tbody></table></div></body></html>
"""


def picture(story: Story) -> str:
    """Mode, causes and commands over time, as an <svg> element."""
    scale = _Scale(story)
    lanes = sorted({span.name for span in story.causes})
    top = 20 + LANE * (len(lanes) + 1)
    height = top + (TALL + 30) * len(story.commands) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + 20}" height="{height}" '
        'role="img" aria-label="mode, causes and commands over time">',
        *scale.axis(height - 6),
        *_lane("mode", 14, (s for s in story.modes), scale),
    ]
    for i, name in enumerate(lanes):
        spans = (s for s in story.causes if s.name == name)
        parts += _lane(name, 14 + LANE * (i + 1), spans, scale, kind="cause")
    for name, line in story.commands.items():
        parts += _line(name, story.units.get(name, ""), line, top, scale, story.end_ns)
        top += TALL + 30
    return "\n".join([*parts, "</svg>"])


class _Scale:
    def __init__(self, story: Story) -> None:
        self._start_ns = story.start_ns
        self._left_ns = story.earliest_ns
        self._span_ns = max(story.latest_ns - story.earliest_ns, 1)

    def x(self, t_ns: int) -> float:
        return LEFT + WIDE * (t_ns - self._left_ns) / self._span_ns

    def seconds(self, t_ns: int) -> float:
        return (t_ns - self._start_ns) / 1e9

    def axis(self, bottom: int) -> Iterator[str]:
        span_s = self._span_ns / 1e9
        step_s = _round(span_s / 10)
        before_s = (self._start_ns - self._left_ns) / 1e9
        for n in range(int(span_s / step_s) + 1):
            x = LEFT + WIDE * n * step_s / span_s
            yield f'<line class="grid" x1="{x:.1f}" y1="10" x2="{x:.1f}" y2="{bottom - 14}"/>'
            label = f"{n * step_s - before_s:g} s"
            yield f'<text x="{x:.1f}" y="{bottom}" text-anchor="middle">{label}</text>'


def _round(least: float) -> float:
    """The next number of 1, 2, 5, 10, 20, ... that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= least * (1 - 1e-9))


def _lane(name: str, y: int, spans: Iterator[Span], scale: _Scale, kind: str = "") -> Iterator[str]:
    yield f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
    for span in spans:
        x = scale.x(span.start_ns)
        width = max(scale.x(span.end_ns) - x, 1.0)
        told = f"{span.name}, {scale.seconds(span.start_ns):.2f} s to "
        told += f"{scale.seconds(span.end_ns):.2f} s"
        yield (
            f'<rect class="{kind or span.name}" x="{x:.1f}" y="{y}" width="{width:.1f}" '
            f'height="{LANE - 5}"><title>{escape(told)}</title></rect>'
        )


def _line(
    name: str, unit: str, line: list[tuple[int, float]], top: int, scale: _Scale, end_ns: int
) -> Iterator[str]:
    """A command as steps: it holds until it changes."""
    values = [value for _, value in line]
    low, high = min([0.0, *values]), max([*values, 1e-9])
    steps = []
    for (t_ns, value), (until_ns, _) in zip(line, [*line[1:], (end_ns, 0.0)], strict=True):
        y = top + 20 + TALL * (1 - (value - low) / (high - low))
        steps += [f"{scale.x(t_ns):.1f},{y:.1f}", f"{scale.x(until_ns):.1f},{y:.1f}"]
    yield f'<text x="{LEFT - 8}" y="{top + 32}" text-anchor="end">{escape(name)}</text>'
    limits = f"{low:g} to {high:.4g} {unit}"
    yield f'<text x="{LEFT - 8}" y="{top + 48}" text-anchor="end">{escape(limits)}</text>'
    yield f'<polyline class="line" points="{" ".join(steps)}"/>'


def _row(change: Change, start_ns: int) -> str:
    return (
        f'<tr><td class="time">{(change.t_ns - start_ns) / 1e9:.2f} s</td>'
        f"<td>{_mode(change.before)}</td><td>{_mode(change.after)}</td>"
        f"<td>{escape(change.cause)}</td><td>{escape(change.why)}</td></tr>"
    )


def _mode(mode: Mode | None) -> str:
    return "" if mode is None else f'<b class="{mode.name}">{mode.name}</b>'
