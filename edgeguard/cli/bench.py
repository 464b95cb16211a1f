# SPDX-License-Identifier: Apache-2.0
"""`edgeguard bench`: what the guard costs, against what a user would do instead and the floor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import attrs
import click

from edgeguard import figures as results
from edgeguard.errors import EdgeguardError

PARTS = ("kernels", "guard", "isolation", "jitter", "recorder", "mcu", "attacks")
PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "pillow", "torchvision")
RIVALS = ("torch", "adversarial-robustness-toolbox", "foolbox")
"""More packages that decide what `--only attacks` finds."""


@click.command()
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures.")
@click.option("--rounds", type=click.IntRange(min=20), default=400, show_default=True)
@click.option("--only", type=click.Choice(PARTS), help="One part of it.")
def command(json_file: Path | None, rounds: int, only: str | None) -> None:
    """Print the cost of preprocessing, of the guard and of isolation, interleaved with the
    alternatives, of recording, what a worker that fails costs the tick in jitter, and the round
    trip to a microcontroller in QEMU.

    Needs the extras images, record and lab (it builds int8 members of the sizes that it measures).
    Only on request: the lab's attacks beside those of ART and foolbox (extra rivals, and data).
    Exits 1 and names the bar when one does not hold.
    """
    if json_file is not None:
        results.check_writable(json_file)
    found = _attacks(rounds) if only == "attacks" else _costs(rounds, only)
    if json_file is not None:
        packages = (*PACKAGES, *RIVALS) if only == "attacks" else PACKAGES
        results.write(json_file, found, seed=seed_of(only), packages=packages)
    missed = [f["id"] for f in found if f.get("holds") is False]
    if missed:
        click.echo(f"bars that do not hold: {', '.join(missed)}", err=True)
        sys.exit(1)


def seed_of(only: str | None) -> int:
    """What the chosen part draws its inputs from."""
    if only != "attacks":
        return 0
    from edgeguard.cli import bench_attacks

    return bench_attacks.SEED


def _costs(rounds: int, only: str | None) -> list[dict[str, Any]]:
    """All parts that are about time, or one of them."""
    from edgeguard.cli import bench_guard, bench_isolation, bench_kernels

    found: list[dict[str, Any]] = []
    if only in (None, "kernels"):
        found += bench_kernels.figures(rounds)
    if only in (None, "guard"):
        found += bench_guard.figures(5 * rounds)
        click.echo(bench_guard.table(found))
    if only in (None, "isolation"):
        isolation = bench_isolation.figures(rounds)
        found += isolation
        click.echo(f"Isolation, 640x480, three members\n{bench_isolation.lines(isolation)}")
    if only in (None, "jitter"):
        found += _jitter(rounds)
    if only in (None, "recorder"):
        found += _recorder(5 * rounds)
    if only in (None, "mcu"):
        found += _mcu(rounds, required=only is not None)
    return found


def _jitter(rounds: int) -> list[Any]:
    """What a failing worker costs the tick."""
    from edgeguard.cli import bench_jitter

    found, refused = bench_jitter.figures(rounds)
    click.echo(bench_jitter.lines(found))
    for what in refused:
        click.echo(f"--only jitter: {what}", err=True)
    return found


def _recorder(rounds: int) -> list[Any]:
    """What recording costs."""
    from edgeguard.cli import bench_record

    found = bench_record.figures(rounds)
    click.echo(bench_record.lines(found))
    return [attrs.asdict(figure) for figure in found]


def _attacks(rounds: int) -> list[Any]:
    """What the lab's attacks take, and find, beside those of the libraries."""
    from edgeguard.cli import bench_attacks

    try:
        found = bench_attacks.figures(rounds)
    except FileNotFoundError as error:
        raise EdgeguardError(str(error)) from None
    click.echo(f"attacks on the float twins, one thread\n{bench_attacks.lines(found)}")
    return [attrs.asdict(figure) for figure in found]


def _mcu(rounds: int, required: bool) -> list[Any]:
    """The link's figures; where QEMU is missing, a line that says so."""
    from edgeguard.cli import bench_mcu

    try:
        found = bench_mcu.figures(rounds)
    except EdgeguardError as error:
        if required:
            raise
        click.echo(f"round trip to a microcontroller: not measured; {error}")
        return []
    click.echo(f"round trip to a microcontroller ({bench_mcu.PORT}):\n{bench_mcu.lines(found)}")
    return found
