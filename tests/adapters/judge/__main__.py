# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.adapters.judge`: a million guarded commands per brand, and as many bare ones."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from edgeguard import figures as shape
from edgeguard.figures import Figure
from tests.adapters.judge.brands import BRANDS
from tests.adapters.judge.drive import Outcome, drive


def figures(brand: str, guarded: Outcome, bare: Outcome) -> list[Figure]:
    """`opendbc.{brand}.{guarded,bare}.blocked`, and what the guarded ones consisted of."""
    at = f"opendbc.{brand}"
    ticks = sum(guarded.modes.values())
    return [
        shape.at_most(f"{at}.guarded.blocked", guarded.blocked, 0, "1", guarded.sent),
        shape.at_least(f"{at}.bare.blocked", bare.blocked, 1, "1", bare.sent),
        Figure(f"{at}.guarded.active", guarded.active, "1", guarded.sent),
        Figure(f"{at}.bare.active", bare.active, "1", bare.sent),
        *(
            Figure(f"{at}.guarded.share.{mode.lower()}", n / ticks, "1", ticks)
            for mode, n in sorted(guarded.modes.items())
        ),
    ]


@click.command()
@click.option("--commands", default=1_000_000, show_default=True, help="Frames of each brand.")
@click.option("--brand", "names", multiple=True, type=click.Choice(list(BRANDS)))
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "json_to", type=click.Path(path_type=Path), help="Write the figures.")
def main(commands: int, names: tuple[str, ...], seed: int, json_to: Path | None) -> None:
    """Drive, with opendbc's transmit hook as the judge. Exit code 1 if it blocks a guarded one."""
    if json_to is not None:
        shape.check_writable(json_to)
    found: list[Figure] = []
    for name in names or tuple(BRANDS):
        outcomes = []
        for guarded in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                outcome = drive(BRANDS[name](), commands, seed, guarded, Path(folder))
            outcomes.append(outcome)
            what = "guarded" if guarded else "bare"
            click.echo(
                f"{name}, {what}: {outcome.blocked:,} of {outcome.sent:,} commands blocked"
                f" ({outcome.active:,} asked for action)"
                + (f"; first: {outcome.first}" if guarded and outcome.first else "")
            )
        found += figures(name, *outcomes)
    if json_to is not None:
        shape.write(json_to, found, seed, ("opendbc", "cantools", "python-can"))
    if not all(f.holds in (True, None) for f in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
