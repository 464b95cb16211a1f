# SPDX-License-Identifier: Apache-2.0
"""What `edgeguard calibrate` tells of what it found: tables, plots and the results file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeguard.config.fixed import ONE

if TYPE_CHECKING:
    from rich.table import Table

    from edgeguard.config import GuardConfig
    from edgeguard.evidence.calibration import Calibration, Frames


def tables(
    found: Calibration, frames: Frames | None, rates: dict[str, float], target: Path
) -> None:
    """What was found, on how many tracks; frames: None where none were given."""
    from rich.console import Console

    console = Console(highlight=False)
    for table in (_temperatures(found), _operations(found), _detectors(found, rates)):
        if table.row_count:
            console.print(table)
    for name, line in found.line.items():
        if line:
            console.print(f"{name}: " + ", ".join(f"{k} {v:g}" for k, v in line.items()))
    _lowest(found)
    if frames and found.limit:
        _rare(frames)
    of = f" from {len(frames.tracks)} tracks, {len(frames.y)} frames" if frames else ""
    click.echo(f"{target}: written{of}; it holds for later tracks that are drawn alike")


def _lowest(found: Calibration) -> None:
    """Where the search ended at the last certainty that it tries, which hardly refuses anything."""
    from edgeguard.evidence.selective import GRID

    for (channel, operation), threshold in found.threshold.items():
        if threshold.value > GRID[-1]:
            continue
        level = found.votes[channel, operation][0].level
        refused, asked = int((level[level >= 0] < threshold.value).sum()), int((level >= 0).sum())
        click.echo(
            f"note: {operation} {channel}: {threshold.value / ONE:.4f} is the lowest certainty that"
            f" is tried, and refused {refused} of the {asked} frames with a quorum here: the quorum"
            " alone carries the accuracy"
        )


def _rare(frames: Frames) -> None:
    """What is promised is promised for the mix of classes in these tracks."""
    from edgeguard.cli.calibration_run import FEW_TRACKS, rare_classes

    rare, classes = rare_classes(frames.y, frames.tracks)
    if rare:
        click.echo(
            f"note: {rare} of {classes} classes have less than {FEW_TRACKS} of these tracks; "
            "false trips are promised for the mix of classes, and say nothing about those alone"
        )


def risk(cfg: GuardConfig, fits: dict[tuple[str, str], dict[str, Any]]) -> None:
    """What was asked for, and what these blocks show where one half calibrates for the other."""
    from edgeguard.evidence.risk import measured

    blocks = {name: arrays["blocks"] for (name, what), arrays in fits.items() if what == "risk"}
    asked = next((d for d in cfg.detectors.values() if d.kind == "risk"), None)
    if asked is None or not blocks:
        return
    promised = asked.max_false_trips_per_hour or 0.0
    rate, hours = measured(blocks, promised)
    shown = "so few cannot show any" if rate is None else f"{rate:.3g} measured"
    click.echo(
        f"risk: false alarms per hour at level 2: <= {promised:g} promised, {shown} in "
        f"{hours:.2g} h of clean blocks ({len(blocks)} detectors)"
    )


def _table(title: str, *columns: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _temperatures(found: Calibration) -> Table:
    table = _table("Temperatures, and the calibration error", "member", "T", "at T = 1", "at T")
    for name, temperature in found.temperature.items():
        before, after = found.reliability[name]
        table.add_row(name, f"{temperature:.4g}", f"{before.ece:.2%}", f"{after.ece:.2%}")
    return table


def _operations(found: Calibration) -> Table:
    columns = ("operation", "certainty", "promised wrong", "tracks", "accepts", "of that wrong")
    table = _table("Operations: what is promised, and what these tracks showed", *columns)
    for (channel, operation), t in found.threshold.items():
        table.add_row(
            f"{operation} {channel}",
            f"{t.value / ONE:.4f}",
            f"<= {t.alpha:.3g}",
            str(t.n_tracks),
            f"{t.coverage:.1%}",
            f"{1 - t.accuracy:.2%}",
        )
    return table


def _detectors(found: Calibration, rates: dict[str, float]) -> Table:
    columns = (
        "detector",
        "limit",
        "promised per hour",
        "95 % sure",
        "tracks",
        "tripped",
        "minutes",
    )
    table = _table("Detectors: false trips promised, and on these tracks", *columns)
    for (name, side), limit in found.limit.items():
        table.add_row(
            name,
            f"{side} {limit.value / ONE:.4g}",
            f"<= {rates[name]:g}",
            f"<= {limit.surely_per_hour:.3g}",
            str(limit.n_tracks),
            str(limit.firings),
            f"{limit.hours * 60:.1f}",
        )
    return table


def draw(found: Calibration, target: Path) -> None:
    """Reliability and risk over coverage, beside the target."""
    try:
        from edgeguard.lab import calibration_plots
    except ModuleNotFoundError as error:
        from edgeguard.cli.main import MissingExtra

        click.echo(f"no plots: {MissingExtra(error, 'calibrate')}", err=True)
        return
    for path in calibration_plots.draw(found, target.parent, target.stem):
        click.echo(str(path))


def figures(found: Calibration, path: Path) -> None:
    """The results file. These are calibration data: they are not to be reported as results."""
    from edgeguard.figures import Figure, write

    made = []

    def add(name: str, value: float, n: int, unit: str = "1") -> None:
        made.append(Figure(f"calibrate.{name}", float(value), unit, n))

    for name, (before, after) in found.reliability.items():
        frames = int(after.count.sum())
        add(f"{name}.temperature", found.temperature[name], frames)
        add(f"{name}.ece.before", before.ece, frames)
        add(f"{name}.ece.after", after.ece, frames)
    for (channel, operation), t in found.threshold.items():
        add(f"{channel}.{operation}.certainty", t.value / ONE, t.n_tracks)
        add(f"{channel}.{operation}.coverage", t.coverage, t.n_tracks)
        add(f"{channel}.{operation}.selective_accuracy", t.accuracy, t.n_tracks)
    for (name, side), limit in found.limit.items():
        add(f"{name}.{side}", limit.value / ONE, limit.n_tracks)
        add(f"{name}.{side}.false_trips", limit.firings / limit.hours, limit.n_tracks, "1/h")
    write(path, made, None, ("numpy", "onnxruntime", "ai-edge-litert", "tflite-runtime"))
