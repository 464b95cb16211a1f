# SPDX-License-Identifier: Apache-2.0
"""The page that a demo writes: one file, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from string import Template

import numpy as np
import numpy.typing as npt

from edgeguard.decision import Mode
from edgeguard.figures import Figure, document
from edgeguard.png import data_uri
from edgeguard.streams.faults import Perturbed
from edgeguard.streams.report import Results, Row, failures
from edgeguard.streams.timeline import svg

SHOWN = (0, 10, 20, 29)  # frames of an attacked track


def render(results: Results, figures: list[Figure]) -> str:
    """The page as HTML."""
    template = files("edgeguard.streams").joinpath("page.html").read_text(encoding="utf-8")
    about = document(figures, results.guard.stream.seed, ("edgeguard-monitor", "numpy"))
    failed = failures(figures)
    return Template(template).substitute(
        verdict="holds" if not failed else "fails",
        headline=_headline(results, failed),
        tiles="".join(_tile(figure) for figure in figures if figure.id in _TILES),
        legend="".join(f'<span class="key {m.name}"></span>{m.name} ' for m in Mode),
        timeline=svg(results),
        rows="".join(_row(i, row) for i, row in enumerate(results.rows, 1)),
        attacks="".join(_attacks(results)),
        figures="".join(_figure(figure) for figure in figures),
        machine=escape(str(about["machine"])),
        versions=escape(", ".join(f"{k} {v}" for k, v in about["versions"].items())),
        date=escape(str(about["date"])),
        seed=about["seed"],
    )


_TILES = {
    "demo.wrong_commands": "wrong commands got through the guard",
    "demo.bare.wrong_commands": "ticks of 10 ms on which the bare model commanded wrongly",
    "guard.availability.clean": "of the undisturbed drive with the models in command",
    "demo.availability": "of the disturbed drive, outside the events and their recovery",
    "demo.safe_stops_unneeded": "unneeded stops",
}


def _headline(results: Results, failed: list[Figure]) -> str:
    if failed:
        return escape("Bars that do not hold: " + ", ".join(figure.id for figure in failed))
    stream = results.guard.stream
    return (
        f"{len(stream.tracks)} real traffic signs, {len(results.entries)} events,"
        f" {stream.ticks:,} decisions: no wrong command got through."
    )


def _tile(figure: Figure) -> str:
    share = figure.unit == "1"
    value = f"{figure.value:.1%}" if share else f"{figure.value:,.0f}"
    state = "" if figure.holds is None else "good" if figure.holds else "bad"
    bar = f"<small>bar: {escape(figure.bar)}</small>" if figure.bar else "<small>to compare</small>"
    return f'<div class="tile {state}"><b>{value}</b><span>{_TILES[figure.id]}</span>{bar}</div>'


def _row(number: int, row: Row) -> str:
    bare, guard = ("bad" if wrong else "good" for wrong in (row.bare.wrong, row.guard.wrong))
    cells = (
        f'<td class="number">{number}</td><td>{row.at}</td><td>{escape(row.entry.title)}</td>'
        f'<td class="{bare}">{escape(row.bare_said)}</td>'
        f'<td class="{guard}">{escape(row.guard_said)}</td>'
    )
    times = "".join(f'<td class="time">{t}</td>' for t in (row.to_safe, row.away, row.recovered))
    return f"<tr>{cells}{times}</tr>"


def _attacks(results: Results) -> Iterator[str]:
    """Each attacked track: some frames as they were, as they were shown, and what was read."""
    stream = results.guard.stream
    for row in results.rows:
        fault = row.entry.event.fault
        if not isinstance(fault, Perturbed) or fault.attack is None:
            continue
        track = stream.tracks[stream.where(fault.attack.key)]
        cells = []
        for step in SHOWN:
            tick = results.bare.tick(row.entry.event.start + step)
            read = stream.name(int(results.bare.timeline.label[tick]))
            cells.append(
                f"<figure>{_image(track.frames[step])}{_image(fault.attack.frames[step])}"
                f"<figcaption>plain reads: {escape(read)}</figcaption></figure>"
            )
        yield f"<h3>{escape(row.entry.title)}</h3><div class=strip>{''.join(cells)}</div>"


def _image(pixels: npt.NDArray[np.uint8]) -> str:
    return f'<img alt="" src="{data_uri(pixels)}">'


def _figure(figure: Figure) -> str:
    state = "" if figure.holds is None else "good" if figure.holds else "bad"
    return (
        f"<tr><td><code>{escape(figure.id)}</code></td><td class=time>{figure.value:g}</td>"
        f"<td>{escape(figure.unit)}</td><td>{figure.n if figure.n is not None else ''}</td>"
        f'<td class="{state}">{escape(figure.bar or "")}</td></tr>'
    )
