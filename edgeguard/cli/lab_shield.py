# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab shield`: the guard while a policy learns, and against one paid for the wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import click

Row = Mapping[str, Any]


@click.command()
@click.option("--seeds", type=click.IntRange(1, 20), default=5, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 200), default=30, show_default=True,
              help="Of the search; 16 drives each.")  # fmt: skip
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              default=Path("edgeguard-shield"), show_default=True,
              help="A line for each seed; what is there is not made again.")  # fmt: skip
@click.option("--json", "json_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the figures.")  # fmt: skip
def command(seeds: int, rounds: int, results: Path, json_to: Path | None) -> int:
    """Learn to drive with the guard as a shield and without; then for metres, on any ground.

    Needs the extra `drive`. About five minutes of one core for each seed. Exit code 1 when a bar
    does not hold.
    """
    from edgeguard import figures
    from edgeguard.lab.shield import run

    if json_to is not None:
        figures.check_writable(json_to)
    rows = run.run(seeds, rounds, results, lambda text: click.echo(text, err=True))
    _print(rows)
    found = run.figures(rows)
    if json_to is not None:
        run.write(json_to, found)
    missed = [figure for figure in found if figure.holds is False]
    for figure in missed:
        click.echo(f"FAILED {figure.id}: {figure.value:.3g}, want {figure.bar}", err=True)
    return 1 if missed else 0


def _print(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    learnt = [r for r in rows if r["experiment"] == "learning"]
    table = Table(title="Learning to drive", title_justify="left")
    for name in ("seed", "shield", "drives in training", "of them off the road", "rule drives",
                 "reward afterwards: alone", "guarded", "rule drives", "off the road: alone",
                 "guarded"):  # fmt: skip
        table.add_column(name, justify="right")
    for r in rows:
        if r["experiment"] == "untrained":
            table.add_row("untrained", "", "", "", "", *_judged(r))
    for r in learnt:
        t = r["training"]
        table.add_row(
            str(r["seed"]), "on" if r["shield"] else "off", str(t["drives"]), str(t["events"]),
            _ruled(t), *_judged(r),
        )  # fmt: skip
    paid = Table(title="Paid for metres", title_justify="left")
    for name in ("", "metres in ten seconds", "of the time off the road", "rule drives"):
        paid.add_column(name, justify="right")
    some = [r for r in rows if r["experiment"] == "hacking"]
    for how in ("alone", "guarded"):
        shares = [fmean(r[how][k] / r[how]["steps"] for r in some) for k in ("off", "ruled")]
        metres = fmean(r[how]["reward"] / r[how]["drives"] for r in some)
        paid.add_row(how, f"{metres:.0f}", *(f"{share:.1%}" for share in shares))
    console = Console(highlight=False, width=None if Console().is_terminal else 160)
    console.print(table)
    console.print(paid)


def _judged(row: Row) -> tuple[str, ...]:
    alone, guarded = row["alone"], row["guarded"]
    rewards = [f"{told['reward'] / told['drives']:.0f}" for told in (alone, guarded)]
    lost = [f"{told['events']}/{told['drives']}" for told in (alone, guarded)]
    return (*rewards, _ruled(guarded), *lost)


def _ruled(told: Row) -> str:
    return f"{told['ruled'] / told['steps']:.1%}"
