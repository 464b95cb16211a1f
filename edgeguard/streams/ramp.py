# SPDX-License-Identifier: Apache-2.0
"""What a vehicle's own log says of a stop: when the ramp began, how it went, and a picture."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure, at_least, at_most

SAFE_MS = 50.0  # last good frame to the start of the ramp
PERIOD_MS = 10.0  # the last frame left at most that long before the host died
GAP_MS = 10.0  # beyond its period: the emulator did not get the processor
RATE_MS2 = 4.0  # UN R157
ONE = 65536


@frozen
class Row:
    """One command that reached the actuators."""

    t_ns: int
    stamp_us: int
    target_q16: int
    speed: float


@frozen
class Log:
    """The plant's log."""

    path: Path
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, path: Path) -> Log:
        """Raises EdgeguardError when it is none."""
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                raw = json.loads(line)
                if "target_q16" in raw:
                    rows.append(Row(raw["t_ns"], raw["stamp_us"], raw["target_q16"], raw["speed"]))
            except (ValueError, KeyError, TypeError):
                continue  # the last line may be cut off
        if len(rows) < 2:
            raise EdgeguardError(f"{path}: holds no commands of a microcontroller")
        return cls(path, tuple(rows))


@frozen
class Ramp:
    """The stop after the host died. Times from its death, ms; by the plant's clock."""

    at_kill: float
    """m/s, the command when it died."""
    began_ms: float | None
    """Until the command began to fall; None: it never did."""
    stopped_ms: float | None
    """Until it was 0."""
    steepest: float
    """m/s2, over the whole ramp between two turns of the microcontroller, by its own clock."""
    rises: int
    """Commands above the one before them."""
    commands: int
    gap_ms: float
    """The longest pause between two turns in the 100 ms after its death, by the MCU's clock."""


def measure(log: Log, killed_ns: int) -> Ramp:
    """Look at what came after the host died."""
    after = [row for row in log.rows if row.t_ns >= killed_ns]
    before = [row for row in log.rows if row.t_ns < killed_ns]
    if not before or not after:
        raise EdgeguardError(f"{log.path}: nothing before the host was killed, or nothing after it")
    rows = [before[-1], *after]
    pairs = list(itertools.pairwise(rows))
    began = next((b for a, b in pairs if _falls(a, b) and _to_the_end(rows, b)), None)
    stopped = next((row for row in after if row.target_q16 == 0), None)
    turns = [(a, b, (b.stamp_us - a.stamp_us) & 0xFFFFFFFF) for a, b in pairs]
    steep = [(a.target_q16 - b.target_q16) / ONE / max(us, 10_000) * 1e6 for a, b, us in turns]
    early = [us for a, b, us in turns if b.t_ns < killed_ns + 100_000_000]
    return Ramp(
        at_kill=before[-1].target_q16 / ONE,
        began_ms=None if began is None else (began.t_ns - killed_ns) / 1e6,
        stopped_ms=None if stopped is None else (stopped.t_ns - killed_ns) / 1e6,
        steepest=max(steep, default=0.0),
        rises=sum(
            b.target_q16 > a.target_q16
            for a, b in pairs
            if began is not None and b.t_ns >= began.t_ns
        ),
        commands=len(after),
        gap_ms=max(early, default=0) / 1e3,
    )


def _falls(a: Row, b: Row) -> bool:
    return b.target_q16 < a.target_q16


def _to_the_end(rows: list[Row], start: Row) -> bool:
    """From there on it never rises again."""
    tail = rows[rows.index(start) :]
    return all(b.target_q16 <= a.target_q16 for a, b in itertools.pairwise(tail))


def figures(ramp: Ramp) -> list[Figure]:
    """With their bars; the emulator's pauses are allowed for: it has no processor of its own."""
    allowed = SAFE_MS + PERIOD_MS + max(0.0, ramp.gap_ms - PERIOD_MS)
    found = [
        at_least("demo_mcu.command_at_kill", ramp.at_kill, 1.0, "m/s"),
        at_most("demo_mcu.rises_after_kill", ramp.rises, 0, n=ramp.commands),
        at_most("demo_mcu.steepest", ramp.steepest, RATE_MS2 + 0.01, "m/s2"),
        Figure("demo_mcu.turn_ms_max", ramp.gap_ms, "ms"),
    ]
    for name, ms, most in (("ramp", ramp.began_ms, allowed), ("stop", ramp.stopped_ms, None)):
        value = float("inf") if ms is None else ms
        bar = f"<= {most:g}" if most is not None else "reached"
        holds = ms is not None and (most is None or ms <= most)
        found.append(Figure(f"demo_mcu.{name}_ms", value, "ms", bar=bar, holds=holds))
    return found


def words(ramp: Ramp) -> Iterator[str]:
    """The same for a person."""
    yield f"when the host was killed, the actuators held a target of {ramp.at_kill:.2f} m/s"
    if ramp.began_ms is None:
        yield "the target never began to fall"
        return
    yield (
        f"{ramp.began_ms:.1f} ms later it began to fall, by {ramp.steepest:.2f} m/s2 at most, and"
        f" never rose again ({ramp.commands} commands)"
    )
    if ramp.stopped_ms is None:
        yield "it did not get to 0 in the time that was watched"
    else:
        yield f"{ramp.stopped_ms / 1000:.2f} s after the kill it was 0"
    yield f"longest turn of the microcontroller around the kill, by its timer: {ramp.gap_ms:.1f} ms"


# ------------------------------------------------------------------ picture

WIDE, TALL, LEFT, TOP, INSET = 860, 300, 56, 56, 300
STYLE = """\
svg { background: #ffffff; font: 12px system-ui, sans-serif; } polyline { fill: none; }
.grid { stroke: #dde2e8; } .text { fill: #5b6877; } .title { font-weight: 600; fill: #1f2933; }
.command { stroke: #1565c0; stroke-width: 2.2; } .car { stroke: #5b6877; stroke-dasharray: 4 3; }
.kill { stroke: #c62828; stroke-width: 1.6; } .killed { fill: #c62828; font-weight: 600; }
.limit { fill: #2e9e6b22; }
"""


def picture(log: Log, killed_ns: int, ramp: Ramp) -> str:
    """The whole drive, and beside it the 200 ms around the kill, as SVG."""
    rows = log.rows
    first = next((r.t_ns for r in rows if r.target_q16 > 0), rows[0].t_ns) - 500_000_000
    end_s = ((ramp.stopped_ms or 0.0) / 1000 + 1.5) or 5.0
    whole = [r for r in rows if first <= r.t_ns <= killed_ns + end_s * 1e9]
    top = max(1.0, *(r.target_q16 / ONE for r in whole), *(r.speed for r in whole)) * 1.12
    around = [r for r in rows if abs(r.t_ns - killed_ns) <= 100_000_000]
    low, high = (f(r.target_q16 / ONE for r in around) for f in (min, max))
    pad = max(0.02, (high - low) * 0.15)
    left = _Axes(LEFT, WIDE - INSET - 2 * LEFT, (first - killed_ns) / 1e9, end_s, 0.0, top)
    right = _Axes(WIDE - INSET - 10, INSET, -0.1, 0.1, low - pad, high + pad)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {TALL + TOP + 50}" '
        f'width="{WIDE}" height="{TALL + TOP + 50}" role="img" '
        'aria-label="target speed at the actuators before and after the host was killed">'
    )
    parts = [
        head,
        f"<style>{STYLE}</style>",
        _text(LEFT, 24, "Target speed at the actuators, from the vehicle's own log", "title"),
        *left.frame("s", "m/s", "1", 5.0 if end_s - left.x0 > 12 else 2.0),
        *right.frame("ms", "m/s", "1000", 0.05),
        f'<rect class="limit" x="{right.x(0):.1f}" y="{TOP}" '
        f'width="{right.x(0.05) - right.x(0):.1f}" height="{TALL}"/>',
        left.line([((r.t_ns - killed_ns) / 1e9, r.speed) for r in whole], "car"),
        left.line(list(_steps(whole, killed_ns)), "command"),
        right.line(list(_steps(around, killed_ns)), "command"),
        *left.kill("host killed (SIGKILL)"),
        *right.kill("50 ms"),
        _text(LEFT, TOP + TALL + 44, "blue: command of the microcontroller; grey: the car", "text"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _steps(rows: list[Row], killed_ns: int) -> Iterator[tuple[float, float]]:
    """A command holds until the next one."""
    last: float | None = None
    for row in rows:
        t, v = (row.t_ns - killed_ns) / 1e9, row.target_q16 / ONE
        if last is not None:
            yield t, last
        yield t, v
        last = v


@frozen
class _Axes:
    """A field of the picture: where it is in pixels, and what it spans."""

    left: float
    width: float
    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        return self.left + (value - self.x0) / (self.x1 - self.x0) * self.width

    def y(self, value: float) -> float:
        return TOP + TALL * (1 - (value - self.y0) / (self.y1 - self.y0))

    def line(self, points: list[tuple[float, float]], kind: str) -> str:
        dots = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points)
        return f'<polyline class="{kind}" points="{dots}"/>'

    def frame(self, x_unit: str, y_unit: str, times: str, every: float) -> Iterator[str]:
        bottom = TOP + TALL
        value = -int(-self.x0 / every) * every
        while value <= self.x1 + 1e-9:
            at = self.x(value)
            yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>'
            yield _text(at, bottom + 16, f"{value * int(times):g}", "text", "middle")
            value += every
        yield _text(self.left + self.width, bottom + 32, f"{x_unit} from the kill", "text", "end")
        for i in range(5):
            level = self.y0 + (self.y1 - self.y0) * i / 4
            at = self.y(level)
            yield (
                f'<line class="grid" x1="{self.left:.1f}" x2="{self.left + self.width:.1f}" '
                f'y1="{at:.1f}" y2="{at:.1f}"/>'
            )
            yield _text(self.left - 6, at + 4, f"{level:.2f}" if self.y1 < 100 else f"{level:.0f}",
                        "text", "end")  # fmt: skip
        yield _text(self.left - 6, TOP - 10, y_unit, "text", "end")

    def kill(self, label: str) -> Iterator[str]:
        at = self.x(0.0)
        yield f'<line class="kill" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{TOP + TALL}"/>'
        yield _text(at + 5, TOP + 14, label, "killed")


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'
