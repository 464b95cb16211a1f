# SPDX-License-Identifier: Apache-2.0
"""`edgeguard drive`: networks steer a racing car, something goes wrong, the guard is off and on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from math import inf
from pathlib import Path
from traceback import format_exc
from typing import TYPE_CHECKING, Any

import click

from edgeguard.cli.progress import shown
from edgeguard.errors import EdgeguardError
from edgeguard.figures import writable
from edgeguard.processes import processes
from edgeguard.streams.loops.kept import of_policy
from edgeguard.streams.loops.tracks import TEST
from edgeguard.zoo import models_dir

if TYPE_CHECKING:
    from rich.console import Console

    from edgeguard.figures import Figure
    from edgeguard.streams.loops.matrix import Job, Row
    from firmware_bridge.campaign.store import Store

PLACES = 4  # of each track, at which a takeover is tried
BRIEF = ("clean", "dark 0.05", "freeze")
PACKAGES = ("gymnasium", "onnxruntime", "ai-edge-litert", "torch", "numpy")
FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("policy", metavar="[GUARD.TOML]", required=False, type=FILE)
@click.option("--matrix", is_flag=True, help="All faults and attacks, in place of three of them.")
@click.option("--cells", metavar="NAME,NAME", help="Only these; --cells ? names them.")
@click.option("--ablate", is_flag=True, help="Also without each kind of detector.")
@click.option("--mcu", type=click.Choice(["twin"]), help="Commands come from a microcontroller "
              "behind the guard, its firmware in this process; so slowly that its stop, which has "
              "no map, ends on the road.")  # fmt: skip
@click.option("--tracks", type=click.IntRange(1, len(TEST)), default=3, show_default=True,
              help="Drives of each cell, on tracks that nothing was made or set on.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Processes, one a core.")  # fmt: skip
@click.option("--results", type=FOLDER, metavar="DIR", default=Path("edgeguard-drive"),
              show_default=True,
              help="Every drive, a line each; what is there is not driven again.")  # fmt: skip
@click.option("--calibrate", is_flag=True, help="Clean drives on the calibration tracks, and the "
              "limits that follow, beside those of GUARD.TOML; logs go to a folder in --results.",
              )  # fmt: skip
@click.option("--takeover", type=FILE, metavar="FILE.svg", is_flag=False, flag_value="takeover.svg",
              help="How long a wrong command may last before the rule gets it back.")  # fmt: skip
@click.option("--demo", type=FILE, metavar="FILE.gif", is_flag=False, flag_value="drive.gif",
              help="Three attacks, guard off and on side by side, as a moving picture.",
              )  # fmt: skip
@click.option("--json", "json_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the figures.")  # fmt: skip
def command(
    policy: Path | None, takeover: Path | None, demo: Path | None, calibrate: bool,
    json_to: Path | None, tracks: int, **given: Any,
) -> int:  # fmt: skip
    """Drive CarRacing by three networks, without a guard and with it, while something goes wrong.

    GUARD.TOML: the guard of the steering; the shipped one without it. Needs the extra `drive`, the
    attacks of the matrix also `lab`. Exit code 1 where a bar does not hold.
    """
    from edgeguard import figures as shape
    from edgeguard.config.load import files_named

    _apart({"--calibrate": calibrate, "--takeover": takeover, "--demo": demo}, given, json_to)
    if json_to is not None:
        shape.check_writable(json_to, *files_named(policy))
    _picture("--takeover", takeover, (".svg", ".png", ".pdf"))
    _picture("--demo", demo, (".gif",))
    if given["cells"] == "?":
        return _names()
    path = policy or models_dir("drive") / "guard.toml"
    _ready(path)
    if calibrate:
        return _calibrate(path, given["results"])
    if takeover is not None:
        found = _takeover(path, takeover, tracks, given["results"])
    elif demo is not None:
        found = _demo(path, demo)
    else:
        found = _cells(path, tracks, **given)
    if json_to is not None:
        shape.write(json_to, found, 0, PACKAGES)
    return _verdict(found)


def _apart(alone: dict[str, Any], given: dict[str, Any], json_to: Path | None) -> None:
    """Raises EdgeguardError for options that contradict each other."""
    chosen = [option for option, value in alone.items() if value]
    others = [f"--{name}" for name in ("matrix", "cells", "ablate", "mcu") if given[name]]
    if given["cells"] is not None and not given["cells"].strip():
        raise EdgeguardError("--cells: names nothing")
    if given["matrix"] and given["cells"]:
        raise EdgeguardError("--cells: leave out --matrix, which is all of them")
    if chosen and len(chosen + others) > 1:
        raise EdgeguardError(f"{chosen[0]}: leave out {', '.join(chosen[1:] + others)}")
    if json_to is not None and alone["--calibrate"]:
        raise EdgeguardError("--json: --calibrate makes no figures; leave one of them out")


def _names() -> int:
    from edgeguard.streams.loops.matrix import NAMES

    for name in NAMES:
        click.echo(name)
    return 0


def _ready(path: Path) -> None:
    """Load the policy and open its members once: what fails here would fail on every drive."""
    from edgeguard import config
    from edgeguard.guard import Guard
    from edgeguard.streams.loops.steers import check, patient

    loaded = config.load(path)
    check(loaded)
    with Guard(patient(loaded)) as guard:
        guard.arm()


def _picture(option: str, path: Path | None, ends: Sequence[str]) -> None:
    """Raises EdgeguardError, before hours of driving, where no picture can be written; the name of
    a policy that follows such an option looks like one."""
    if path is None:
        return
    if path.suffix not in ends:
        want = " or ".join(ends)
        raise EdgeguardError(f"{option} {path}: want {want}; GUARD.TOML comes before the options")
    writable(path)


# ----------------------------------------------------------------- the matrix


def _cells(
    path: Path, tracks: int, matrix: bool, cells: str | None, ablate: bool, mcu: str | None,
    jobs: int, results: Path,
) -> list[Figure]:  # fmt: skip
    from edgeguard.streams.loops import report
    from edgeguard.streams.loops.matrix import ABLATED, BARE, NAMES, REMOVABLE
    from edgeguard.streams.loops.matrix import jobs as all_jobs

    chosen = [c.strip() for c in cells.split(",")] if cells else list(NAMES if matrix else BRIEF)
    wrong = [c for c in chosen if c not in NAMES]
    if wrong:
        raise EdgeguardError(f"--cells: no {', '.join(wrong)}; --cells '?' names all")
    if mcu and ablate:
        raise EdgeguardError("--ablate: is driven without a microcontroller; leave out --mcu")
    guarded = "mcu" if mcu else "on"
    modes = [BARE[guarded], guarded]
    modes += [ABLATED + what for what in REMOVABLE] if ablate else []
    wanted = all_jobs(path, chosen, modes, tracks)
    rows = _rows(wanted, path, jobs, results)
    console = _console()
    for mode in dict.fromkeys(r["mode"] for r in rows):
        if mode not in BARE.values():
            console.print(report.table(rows, mode, console.width))
    _print_missed(rows, [on for on in BARE if any(r["mode"] == on for r in rows)])
    return [*report.figures(rows), *report.not_driven(len(rows), len(wanted))]


def _console() -> Console:
    """As wide as the terminal; where there is none, all columns fit."""
    from rich.console import Console

    from edgeguard.streams.loops.report import WIDE

    return Console(highlight=False, width=None if Console().is_terminal else WIDE)


def _print_missed(rows: Sequence[Row], guarded: Sequence[str]) -> None:
    from edgeguard.streams.loops import report

    for on in guarded:
        hard, failed = report.missed(rows, on)
        harmed = report.harmed(rows, on)[0]
        click.echo(f"{on}: cells where the bare networks lose a run: {len(hard)}; the guard too: "
                   f"{len(failed)}{_named(failed)}; drives that the guard alone loses: "
                   f"{sum(harmed.values())}{_named(harmed)}")  # fmt: skip


def _named(cells: Iterable[str]) -> str:
    said = ", ".join(cells)
    return f" ({said})" if said else ""


def _rows(wanted: Sequence[Job], path: Path, jobs: int, results: Path) -> list[Row]:
    """Drive what the store lacks. A drive that fails is named, has no row, and ends no other."""
    from firmware_bridge.campaign.store import Store

    store = Store(_kept_in(results, path))
    _name_others(store.path)
    missing = [job for job in wanted if job.index not in store.rows.get(job.key, {})]
    try:
        _needed(missing, path)
        for row in shown(len(missing))(_driven(missing, jobs)):
            if isinstance(row, str):
                click.echo(f"FAILED {row}", err=True)
            else:
                store.add([row])
    except KeyboardInterrupt:
        kept = len(_kept(wanted, store))
        click.echo(f"{store.path}: {kept} of {len(wanted)} drives are kept, and the same command "
                   "goes on", err=True)  # fmt: skip
        raise
    finally:
        store.close()
    return _kept(wanted, store)


def _needed(missing: Sequence[Job], path: Path) -> None:
    """Raises what drives raise that lack a package or a file: here, and not after hours."""
    from edgeguard.streams.loops.matrix import ATTACKS, SLOW

    if any(job.cell in ATTACKS for job in missing):
        import_module("torch")
    if any(job.cell.startswith("pgd") for job in missing):
        import_module("edgeguard.lab.drive.twins").check(path.parent)
    if any(job.mode in SLOW for job in missing):
        import_module("edgeguard.streams.loops.behind")


def _kept_in(results: Path, path: Path) -> Path:
    from edgeguard.streams.loops.matrix import EDITION

    return results / f"drive-{EDITION}-{of_policy(path)}.jsonl"


def _name_others(ours: Path) -> None:
    """Whoever goes on after a change starts anew, and should know why."""
    for other in sorted(ours.parent.glob("drive-*.jsonl")):
        if other != ours:
            many = len(other.read_bytes().splitlines())
            click.echo(f"{other}: {many} drives of other code, models or policy; they do not count",
                       err=True)  # fmt: skip


def _kept(wanted: Sequence[Job], store: Store) -> list[Row]:
    kept = ((store.rows.get(job.key, {}), job.index) for job in wanted)
    return [rows[index] for rows, index in kept if index in rows]


def _driven(missing: Sequence[Job], jobs: int) -> Iterator[Row | str]:
    """Of a drive that a process dies of, as of a damaged model, there is no row; what was being
    driven beside it is driven again."""
    if jobs == 1:
        yield from map(_tried, missing)
        return
    left = list(missing)
    while left:
        with processes(jobs) as pool:
            try:
                for job, row in [(job, pool.submit(_tried, job)) for job in left]:
                    yield row.result()
                    left.remove(job)
            except BrokenProcessPool:
                yield from _alone(left[:jobs])
                left = left[jobs:]


def _alone(some: Sequence[Job]) -> Iterator[Row | str]:
    """One of these ended its process: each in one of its own."""
    for job in some:
        with processes(1) as pool:
            try:
                yield pool.submit(_tried, job).result()
            except BrokenProcessPool:
                yield f"{job.key}, track {TEST[job.index]}: its process was ended"


def _tried(job: Job) -> Row | str:
    """A drive's row, or which one failed and how. A package that is not there is nobody's row: the
    command ends."""
    from edgeguard.streams.loops.matrix import run

    try:
        return run(job)
    except ModuleNotFoundError:
        raise
    except EdgeguardError as error:
        what = str(error)
    except Exception:  # a bug of ours in one cell
        what = format_exc()
    return f"{job.key}, track {TEST[job.index]}: {what}"


# --------------------------------------------------------------------- others


def _calibrate(path: Path, results: Path) -> int:
    from rich.console import Console
    from rich.table import Table

    from edgeguard import config
    from edgeguard.streams.loops.clean import reaches, record
    from edgeguard.streams.loops.tracks import CALIBRATION

    loaded = config.load(path)
    folder = results / f"clean-{of_policy(path)}"
    logs = record(loaded, list(CALIBRATION), folder, shown(len(CALIBRATION)))
    found = reaches(loaded, logs)
    if not found:
        raise EdgeguardError(f"{path}: has no detector of images and no association to set")
    table = Table(title=f"{found[0].hours:.2f} h of clean drives on {len(CALIBRATION)} tracks: how "
                  "far they came, and the limits that follow", title_justify="left")  # fmt: skip
    for name in ("detector", "lowest", "highest", "below", "above", "guard.toml: below", "above"):
        table.add_column(name, justify="right")
    tight = []
    for reach in found:
        row = loaded.detectors[reach.name]
        numbers = (reach.low, reach.high, reach.below, reach.above, row.below, row.above)
        table.add_row(reach.name, *(f"{float(n or 0):.3g}" for n in numbers))
        below = -inf if row.below is None else float(row.below)
        above = inf if row.above is None else float(row.above)
        if not below < reach.low <= reach.high < above:
            tight.append(reach.name)
    Console(highlight=False).print(table)
    for name in tight:
        click.echo(f"FAILED detector.{name}: clean drives reach its limits", err=True)
    return 1 if tight else 0


def _takeover(path: Path, picture: Path, tracks: int, results: Path) -> list[Figure]:
    from edgeguard.streams.loops import takeover

    kept = results / f"takeover-{of_policy(path)}.jsonl"
    points = takeover.measure(tracks, PLACES, kept, shown(len(takeover.ALL)))
    for line in takeover.words(points):
        click.echo(line)
    takeover.draw(points, takeover.own_times(_kept_in(results, path)), picture)
    click.echo(f"{picture}: drawn")
    return takeover.figures(points)


def _demo(path: Path, picture: Path) -> list[Figure]:
    from edgeguard.streams.loops import report
    from edgeguard.streams.loops.picture import ATTACKS, MODES, film

    rows = film(path, picture, shown(len(MODES) * len(ATTACKS)))
    console = _console()
    console.print(report.table(rows, width=console.width))
    click.echo(f"{picture}: {picture.stat().st_size / 1e6:.1f} MB")
    return report.figures(rows)


def _verdict(found: Sequence[Figure]) -> int:
    failed = [figure for figure in found if figure.holds is False]
    for figure in failed:
        unit = "" if figure.unit == "1" else f" {figure.unit}"
        click.echo(f"FAILED {figure.id}: {figure.value:.3g}{unit}, want {figure.bar}", err=True)
    return 1 if failed else 0
