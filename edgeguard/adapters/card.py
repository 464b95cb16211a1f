# SPDX-License-Identifier: Apache-2.0
"""The card of something that runs elsewhere and says a number, as an agent, a pilot or a planner
does, or one of some labels.

`python -m edgeguard.adapters.card FILE LOW HIGH [UNIT]`, or `FILE --labels ONE,TWO`, writes it
(UNIT 1 is a plain number); guard.toml names it for a member with `runtime = "external"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    return _card(name, "regressor", "value", 1, value_range=(low, high), unit=unit)


def choice(name: str, labels: Sequence[str]) -> Card:
    """A card of probabilities, float32, one for each label.

    Raises ConfigError for fewer than two labels, and for one that comes twice or is empty.
    """
    if len(labels) < 2 or len({*labels, ""}) <= len(labels):
        raise ConfigError(f"{name}: labels: want two or more, each once; got {', '.join(labels)}")
    return _card(name, "classifier", "probabilities", len(labels), labels=tuple(labels))


def _card(name: str, task: str, kind: str, size: int, **more: Any) -> Card:
    return Card(**{
        "name": name, "file": name, "sha256": "0" * 64, "runtime": "onnx", "task": task,
        "labels": (), "input": Input("VECTOR", "float32", (1,)),
        "outputs": (Output(kind, "float32", kind, size),), **more,
    })  # fmt: skip


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("low", type=float, required=False)
@click.argument("high", type=float, required=False)
@click.argument("unit", required=False)
@click.option("--labels", metavar="ONE,TWO", help="In place of a number.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def main(
    file: Path, low: float | None, high: float | None, unit: str | None, labels: str | None,
    force: bool,
) -> None:  # fmt: skip
    """Write FILE, the card of a number between LOW and HIGH in UNIT, or of one label of several."""
    if not file.name.endswith(SUFFIX):
        raise click.ClickException(f"{file}: want a name that ends in {SUFFIX}")
    if file.exists() and not force:
        raise click.ClickException(f"{file}: exists; --force overwrites it")
    name = file.name.removesuffix(SUFFIX)
    try:
        if labels is not None and low is None:
            card = choice(name, [label.strip() for label in labels.split(",")])
        elif labels is None and low is not None and high is not None:
            card = number(name, low, high, unit or "1")
        else:
            raise ConfigError(f"{file}: want LOW and HIGH, or --labels")
        card.save(file)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    plain = labels is None and unit is None
    click.echo(f"wrote {file}" + (", in UNIT 1: a plain number" if plain else ""))


if __name__ == "__main__":
    main()
