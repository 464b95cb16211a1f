# SPDX-License-Identifier: Apache-2.0
"""What the demo shows while it runs: sign, mode, causes, votes and speeds; or plain lines."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rich.align import Align
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgeguard.decision import Mode
from edgeguard.streams.drive import Moment
from edgeguard.streams.programme import Entry
from edgeguard.streams.stream import SignStream

COLOUR = {
    Mode.NOMINAL: "green",
    Mode.DEGRADED: "yellow",
    Mode.FALLBACK: "dark_orange",
    Mode.SAFE_STOP: "red",
}
KMH = 3.6
_TALL, _WIDE = 14, 28  # of the sign in the terminal, in characters
_EVERY_S = 0.12


class Screen:
    """A live view where there is a terminal; without one, a line for each change of mode."""

    def __init__(self, console: Console, stream: SignStream, entries: list[Entry]) -> None:
        self._console, self._stream = console, stream
        self._titles = {id(entry.event): entry.title for entry in entries}
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._title = ""
        self._shown = 0.0
        self._mode: Mode = Mode.NOMINAL

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def begin(self, title: str) -> None:
        """A new drive starts."""
        self._title, self._mode = title, Mode.NOMINAL
        if not self._console.is_terminal:
            self._console.print(f"{title} ...")

    def watch(self, moment: Moment) -> None:
        """Show a tick, or skip it when the last one was shown just now."""
        if self._console.is_terminal:
            now = time.monotonic()
            if now - self._shown >= _EVERY_S:
                self._shown = now
                self._live.update(self._view(moment), refresh=True)
        else:
            self._line(moment)

    def _line(self, moment: Moment) -> None:
        """One line when the mode has changed."""
        mode = moment.decision.mode
        if mode != self._mode:
            what = ", ".join(moment.decision.causes) or "all clear"
            event = "; ".join(self._titles[id(event)] for event in moment.events)
            self._console.print(
                f"  {moment.tick / 100:7.2f} s  {Mode(mode).name:9} {what}"
                + (f"  [{event}]" if event else ""),
                markup=False,
                highlight=False,
            )
            self._mode = mode

    def _view(self, moment: Moment) -> Panel:
        number, step = divmod(moment.frame, self._stream.per_track)
        track = self._stream.tracks[number]
        table = Table.grid(padding=(0, 3))
        table.add_row(self._sign(moment, number, step), self._state(moment, track.label))
        total, done = self._stream.ticks, moment.tick + 1
        return Panel(
            Group(Align.left(table), Text(), ProgressBar(total=total, completed=done, width=92)),
            title=f"edgeguard demo: {self._title}",
            width=98,
        )

    def _sign(self, moment: Moment, number: int, step: int) -> Text:
        """What the camera gives of the sign."""
        index = number * self._stream.per_track + step
        for event in moment.events:
            shots = event.fault.shots(self._stream, index, index - event.start, 0)
            if shots:
                x, y, width, height = shots[0].box
                return picture(shots[0].frame[y : y + height, x : x + width, ::-1])
        return picture(self._stream.tracks[number].frames[step])

    def _state(self, moment: Moment, label: int) -> Table:
        decision = moment.decision
        said = decision.evidence["target_speed"]
        mode = Mode(decision.mode)
        target, allowed = decision.command["target_speed"], self._stream.safe.top[moment.tick]
        events = ", ".join(self._titles[id(event)] for event in moment.events)
        rows: list[tuple[str, Any]] = [
            ("mode", Text(f" {mode.name} ", style=f"bold black on {COLOUR[mode]}")),
            ("causes", Text(", ".join(decision.causes) or "none")),
            ("event", Text(events, style="bold red")),
            ("", Text()),
            ("true sign", Text(self._stream.name(label))),
            ("models say", Text(self._stream.name(said["label"]) if said["label"] >= 0 else "-")),
            ("votes", Text(f"{said['votes']} of {said['voters']}")),
            ("", Text()),
            ("allowed", Text(f"{allowed * KMH:5.0f} km/h")),
            ("target", _bar(target, 33.4, "cyan")),
            ("car", _bar(moment.speed, 33.4, "white")),
            ("time", Text(f"{moment.tick / 100:5.1f} s")),
        ]
        table = Table.grid(padding=(0, 2))
        for name, value in rows:
            table.add_row(Text(name, style="dim"), value)
        return table


def _bar(speed: float, most: float, style: str) -> Text:
    text = Text(f"{speed * KMH:5.0f} km/h ")
    return text.append("━" * round(28 * min(speed / most, 1.0)), style=style)


def picture(pixels: Any) -> Text:
    """A small picture RGB [h, w, 3] in half blocks."""
    rows = np.linspace(0, pixels.shape[0] - 1, 2 * _TALL).astype(int)
    columns = np.linspace(0, pixels.shape[1] - 1, _WIDE).astype(int)
    small = pixels[np.ix_(rows, columns)]
    text = Text(no_wrap=True)
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for (r, g, b), (s, h, c) in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", f"rgb({r},{g},{b}) on rgb({s},{h},{c})")
        text.append("\n")
    return text
