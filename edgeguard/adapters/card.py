# SPDX-License-Identifier: Apache-2.0
"""The card of something that says a number and runs elsewhere: an agent, a pilot, a planner.

`python -m edgeguard.adapters.card FILE LOW HIGH [UNIT]` writes it; guard.toml names it for a member
with `runtime = "external"`.
"""

from __future__ import annotations

from pathlib import Path

import click

from edgeguard.card import SUFFIX, Card, Input, Output
from edgeguard.config.vocabulary import MOST_NUMBER, UNITS
from edgeguard.errors import ConfigError


def number(name: str, low: float, high: float, unit: str = "1") -> Card:
    """A card of one float32 in [low, high]; what lies outside of it is SCORE_INSANE.

    Raises ConfigError when the range is none or nobody knows the unit.
    """
    if not -MOST_NUMBER <= low < high <= MOST_NUMBER:
        raise ConfigError(
            f"{name}: range: want LOW below HIGH, both within {MOST_NUMBER:g} of 0; got {low:g} and"
            f" {high:g}"
        )
    if unit not in UNITS:
        raise ConfigError(f"{name}: unit: {unit!r} is none of {', '.join(UNITS)}")
    return Card(
        name=name, file=name, sha256="0" * 64, runtime="onnx", task="regressor", labels=(),
        input=Input("VECTOR", "float32", (1,)), outputs=(Output("value", "float32", "value", 1),),
        value_range=(low, high), unit=unit,
    )  # fmt: skip


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("low", type=float)
@click.argument("high", type=float)
@click.argument("unit", default="1")
def main(file: Path, low: float, high: float, unit: str) -> None:
    """Write FILE, the card of a number between LOW and HIGH in UNIT."""
    if not file.name.endswith(SUFFIX):
        raise click.ClickException(f"{file}: want a name that ends in {SUFFIX}")
    try:
        number(file.name.removesuffix(SUFFIX), low, high, unit).save(file)
    except (ConfigError, OSError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
