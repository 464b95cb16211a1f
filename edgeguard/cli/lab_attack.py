# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab attack`: the attack set on the members of a guard, or on one model file."""

from __future__ import annotations

from pathlib import Path

import click

from edgeguard.cli.progress import begins


@click.command()
@click.argument("what", type=click.Path(path_type=Path, dir_okay=False), required=False,
                metavar="[GUARD.TOML | MODEL]")  # fmt: skip
@click.option("--n", "many", type=click.IntRange(min=1), default=1000, show_default=True,
              help="Images for each attack.")  # fmt: skip
@click.option("--quick", is_flag=True, help="3 to 100 of them: minutes.")
@click.option("--member", "members", multiple=True, help="Only this one; may be repeated.")
@click.option("--attack", "attacks", multiple=True, metavar="NAME",
              help="Only this one, for example pgd or cw_l2; may be repeated.")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              metavar="FILE.npz",
              help="Images to attack: x uint8 [N, H, W, 3], y [N].  [default: GTSRB]")  # fmt: skip
@click.option("--data-dir", help="Folder that holds gtsrb/.")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              default=Path("edgeguard-attack"), show_default=True,
              help="Report and attacked pictures; what is there is not made again.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64),
              help="Processes.  [default: the cores, up to 16]")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS",
              help="Of a Dask cluster, as tcp://host:8786, in place of processes.")  # fmt: skip
@click.option("--json", "json_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the figures.")  # fmt: skip
def attack(  # noqa: PLR0913, PLR0917 - one for each option
    what: Path | None, many: int, quick: bool, members: tuple[str, ...], attacks: tuple[str, ...],
    data: Path | None, data_dir: str | None, results: Path, jobs: int | None,
    scheduler: str | None, json_to: Path | None,
) -> int:  # fmt: skip
    """Attack the deployed files of GUARD.TOML's members (the demo's without it), or one MODEL.

    White box through the quantizer, transfer, and black box; every result is rounded to 8 bits and
    judged on the file by its own runtime. DIR/report.html shows all of it. Exit code 1 when a bar
    does not hold, or when the evaluation breaks a rule of validity, which is then named.
    """
    from edgeguard import figures

    if json_to is not None:
        figures.check_writable(json_to, what, data)
    begins("opening the models, and comparing each with its surrogate on 1,000 pictures")
    from edgeguard.lab.attacks import ahead
    from edgeguard.lab.attacks.inputs import Request
    from edgeguard.lab.attacks.page import PAGE
    from edgeguard.lab.attacks.report import run

    request = Request(
        what, many, quick, members, attacks, data, data_dir, results,
        ahead.cores() if jobs is None else jobs, scheduler,
    )  # fmt: skip
    try:
        found = run(request)
    except KeyboardInterrupt:
        said = f"interrupted: {results} keeps what is finished; the same command goes on from there"
        click.echo(said, err=True)
        raise
    if json_to is not None:
        found.write(json_to)
    missed = [row for row in found.rows if row.get("holds") is False]
    for row in missed:
        click.echo(f"FAILED {row['id']}: {row['value']:.3g}, want {row['bar']}", err=True)
    for rule in found.broken:
        click.echo(f"INVALID {rule}", err=True)
    click.echo(f"report: {results / PAGE}", err=True)
    return 1 if missed or found.broken else 0
