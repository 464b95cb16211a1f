# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab defend`: what each defence is worth, to who does not know it and to who does."""

from __future__ import annotations

import sys
from pathlib import Path

import click

DETECTORS = (
    "certainty", "squeezing", "boxes", "learned", "mahalanobis", "relative_mahalanobis", "nearest",
    "vim",
)  # fmt: skip
NAMES = (
    *DETECTORS,
    "stage.none", "stage.depth4", "stage.median2", "stage.median3", "stage.jpeg50", "stage.noise8",
    "history", "distillation", "autoencoder",
    "adversarial.pgd", "adversarial.trades", "adversarial.fast", "adversarial.quantized",
    "adversarial.diverse",
)  # fmt: skip


def _known(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names, or detectors joined by +. Raises BadParameter."""
    for name in names:
        parts = name.split("+")
        known = NAMES if len(parts) == 1 else DETECTORS
        unknown = [part for part in parts if part not in known]
        if unknown:
            raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(known)}")
        if len(set(parts)) < len(parts) or names.count(name) > 1:
            raise click.BadParameter(f"{name!r} names a defence twice, which changes nothing")
        if {"learned", "relative_mahalanobis"} <= set(parts):
            raise click.BadParameter(
                f"{name!r}: a guard has one set of arrays for relative_mahalanobis of a member, "
                "and learned takes their place; name one of the two"
            )
    return names


@click.command()
@click.argument("names", nargs=-1, callback=_known, metavar="[DEFENCE]...")
@click.option("--member", type=click.Choice(["plain", "robust", "compact"]), default="plain",
              show_default=True)  # fmt: skip
@click.option("--quick", is_flag=True, help="40 attacked pictures in place of 1,000, fewer steps.")
@click.option("--n", "many", type=click.IntRange(min=1), help="So many attacked pictures.")
@click.option("--data-dir", help="Folder that holds gtsrb/.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
              default=Path("defences"), show_default=True,
              help="For cards, and what the runtime loads.")  # fmt: skip
@click.option("--json", "json_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the figures.")  # fmt: skip
def defend(
    names: tuple[str, ...], member: str, quick: bool, many: int | None, data_dir: str | None,
    out: Path, json_to: Path | None,
) -> None:  # fmt: skip
    """Measure defences of a shipped member, static and adaptive, and write their cards.

    All of them, or those named: certainty, squeezing, boxes, learned, mahalanobis,
    relative_mahalanobis, nearest, vim, stage.none, stage.depth4, stage.median2, stage.median3,
    stage.jpeg50, stage.noise8, history, distillation, autoencoder, adversarial.pgd,
    adversarial.trades, adversarial.fast, adversarial.quantized, adversarial.diverse; or detectors
    side by side, as squeezing+boxes.
    Exits 1 and names the bar when one does not hold.
    """
    from edgeguard import figures
    from edgeguard.lab.defences.bench import SEED
    from edgeguard.lab.defences.run import PACKAGES, Request, run

    if json_to is not None:
        figures.check_writable(json_to)
    count = many or (40 if quick else 1000)
    found = run(Request(names or NAMES, member, quick, count, data_dir, out))
    if json_to is not None:
        figures.write(json_to, found, SEED, PACKAGES)
    missed = [f.id for f in found if f.holds is False]
    if missed:
        click.echo("bars that do not hold: " + ", ".join(missed))
    sys.exit(1 if missed else 0)
