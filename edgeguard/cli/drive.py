# SPDX-License-Identifier: Apache-2.0
"""`edgeguard drive`: networks steer a racing car, frames are spoilt, the guard is off and on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeguard.errors import EdgeguardError
from edgeguard.provenance import key_of
from edgeguard.zoo import models_dir

if TYPE_CHECKING:
    from edgeguard.figures import Figure

MODES = ("off", "on")
Row = dict[str, Any]


@click.command()
@click.argument("policy", metavar="[GUARD.TOML]", required=False,
                type=click.Path(path_type=Path, dir_okay=False))  # fmt: skip
@click.option("--cells", metavar="NAME,NAME", help="Only these faults.  [default: all]")
@click.option("--tracks", type=click.IntRange(1, 100), default=3, show_default=True,
              help="Drives of each cell, off and on, on tracks of their own.")  # fmt: skip
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              default=Path("edgeguard-drive"), show_default=True,
              help="Every drive, a line each; what is there is not driven again.")  # fmt: skip
@click.option("--json", "json_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the figures.")  # fmt: skip
def command(
    policy: Path | None, cells: str | None, tracks: int, results: Path, json_to: Path | None
) -> None:
    """Drive CarRacing by three networks, without a guard and with it, while frames are spoilt.

    GUARD.TOML: the guard of the steering; the shipped one without it. Needs the extra `drive`.
    """
    from edgeguard import figures as shape
    from edgeguard.streams.loops.faults import CELLS

    if json_to is not None:
        shape.check_writable(json_to)
    chosen = [c.strip() for c in cells.split(",")] if cells else list(CELLS)
    wrong = [c for c in chosen if c not in CELLS]
    if wrong:
        raise EdgeguardError(f"--cells: no {', '.join(wrong)}; known: {', '.join(CELLS)}")
    path = policy or models_dir("drive") / "guard.toml"
    rows = _rows(path, chosen, tracks, results)
    found = figures(rows)
    _print(rows, chosen)
    if json_to is not None:
        shape.write(json_to, found, 0, ("gymnasium", "onnxruntime", "ai-edge-litert"))


def _rows(path: Path, cells: Sequence[str], tracks: int, results: Path) -> list[Row]:
    from rich.progress import track

    file = results / f"drive-{key_of([path])}.jsonl"
    results.mkdir(parents=True, exist_ok=True)
    kept = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    known = {(r["cell"], r["mode"], r["seed"]): r for r in kept}
    wanted = [(c, m, s) for s in range(tracks) for c in cells for m in MODES]
    missing = [w for w in wanted if w not in known]
    with file.open("a", encoding="utf-8") as out:
        for cell, mode, seed in track(missing, "driving", disable=not missing):
            row = _drive(path, cell, mode, seed)
            known[cell, mode, seed] = row
            out.write(json.dumps(row) + "\n")
            out.flush()
    return [known[w] for w in wanted]


def _drive(path: Path, cell: str, mode: str, seed: int) -> Row:
    from edgeguard.guard import Guard
    from edgeguard.streams.loops.drive import Bare, Guarded, drive
    from edgeguard.streams.loops.faults import CELLS
    from edgeguard.streams.loops.racing import Racing

    make = CELLS[cell]
    with Guard.load(path) as guard:
        guard.arm()
        vehicle = Racing(seed)
        steers = Guarded(guard) if mode == "on" else Bare(guard)
        found = drive(vehicle, steers, seed, make(seed) if make else None)
        vehicle.close()
    return {
        "cell": cell, "mode": mode, "seed": seed, "lap": found.finished, "off": found.off,
        "steps": found.steps, "deviation_m": round(found.deviation_m, 2), "ruled": found.ruled,
        "trip": found.trip, "reward": round(found.reward, 1), "jerk": round(found.jerk, 4),
        "causes": sorted(found.causes),
    }  # fmt: skip


def _of(rows: Iterable[Row], cell: str, mode: str) -> list[Row]:
    return [r for r in rows if r["cell"] == cell and r["mode"] == mode]


def figures(rows: Sequence[Row]) -> list[Figure]:
    """`drive.{cell}.{off,on}.{laps,offroad,rule_share,onset_ms_max}`."""
    from edgeguard.figures import Figure

    found = []
    for cell in dict.fromkeys(r["cell"] for r in rows):
        for mode in MODES:
            some = _of(rows, cell, mode)
            at, n = f"drive.{cell.replace(' ', '_')}.{mode}", len(some)
            steps = sum(r["steps"] for r in some)
            found += [
                Figure(f"{at}.laps", sum(r["lap"] for r in some) / n, "1", n),
                Figure(f"{at}.offroad", sum(r["off"] for r in some) / steps, "1", n),
                Figure(f"{at}.rule_share", sum(r["ruled"] for r in some) / steps, "1", n),
            ]
            trips = [r["trip"] * 20 for r in some if r["trip"] is not None]
            if trips and mode == "on" and cell != "clean":
                found.append(Figure(f"{at}.onset_ms_max", max(trips), "ms", len(trips)))
    return found


def _print(rows: Sequence[Row], cells: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Three networks steer; from second 3 on their frames are spoilt",
                  title_justify="left")  # fmt: skip
    table.add_column("fault")
    for name in ("laps: off", "on", "off the road: off", "on", "deviation m: on", "rule drives",
                 "onset to rule ms, max", "first causes"):  # fmt: skip
        table.add_column(name, justify="right")
    for cell in cells:
        off, on = _of(rows, cell, "off"), _of(rows, cell, "on")
        trips = [r["trip"] * 20 for r in on if r["trip"] is not None]
        causes = sorted({c for r in on for c in r["causes"]} - {"OPERATION_DENIED"})
        table.add_row(
            cell, _laps(off), _laps(on), _share(off, "off"), _share(on, "off"),
            f"{max(r['deviation_m'] for r in on):.1f}", _share(on, "ruled"),
            f"{max(trips)}" if trips else "-", " ".join(causes)[:44],
        )  # fmt: skip
    Console(highlight=False, width=None if Console().is_terminal else 160).print(table)


def _laps(rows: Sequence[Row]) -> str:
    return f"{sum(r['lap'] for r in rows)}/{len(rows)}"


def _share(rows: Sequence[Row], key: str) -> str:
    return f"{sum(r[key] for r in rows) / sum(r['steps'] for r in rows):.1%}"
