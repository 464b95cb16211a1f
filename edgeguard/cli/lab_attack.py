# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab attack`: the attack set on the members of a guard, or on one model file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("what", type=click.Path(path_type=Path, dir_okay=False), required=False,
                metavar="[GUARD.TOML | MODEL]")  # fmt: skip
@click.option("--n", "many", type=click.IntRange(min=1), default=1000, show_default=True,
              help="Images for each attack.")  # fmt: skip
@click.option("--quick", is_flag=True, help="10 to 100 of them: minutes.")
@click.option("--member", "members", multiple=True, help="Only this one; may be repeated.")
@click.option("--attack", "attacks", multiple=True, metavar="NAME",
              help="Only this one, for example pgd or cw_l2; may be repeated.")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              metavar="FILE.npz",
              help="Images to attack: x uint8 [N, H, W, 3], y [N].  [default: GTSRB]")  # fmt: skip
@click.option("--data-dir", help="Folder that holds gtsrb/.")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              default=Path("edgeguard-attack"), show_default=True,
              help="Every attacked picture; what is there is not made again.")  # fmt: skip
@click.option("--json", "json_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the figures.")  # fmt: skip
def attack(  # noqa: PLR0913, PLR0917 - one for each option
    what: Path | None, many: int, quick: bool, members: tuple[str, ...], attacks: tuple[str, ...],
    data: Path | None, data_dir: str | None, results: Path, json_to: Path | None,
) -> int:  # fmt: skip
    """Attack the deployed files of GUARD.TOML's members (the demo's without it), or one MODEL.

    White box through the quantizer, transfer, and black box; every result is rounded to 8 bits and
    judged on the file by its own runtime. Exit code 1 when a bar of the undefended model does not
    hold, or when the evaluation breaks a rule of validity, which is then named.
    """
    from edgeguard import figures
    from edgeguard.lab.attacks.report import Request, run

    if json_to is not None:
        figures.check_writable(json_to)
    request = Request(what, many, quick, members, attacks, data, data_dir, results)
    found, broken = run(request)
    if json_to is not None:
        figures.write(json_to, found, 0, ("torch", "onnxruntime", "ai-edge-litert", "numpy"))
    missed = [figure for figure in found if figure.holds is False]
    for figure in missed:
        click.echo(f"FAILED {figure.id}: {figure.value:.3g}, want {figure.bar}", err=True)
    for rule in broken:
        click.echo(f"INVALID {rule}", err=True)
    return 1 if missed or broken else 0
