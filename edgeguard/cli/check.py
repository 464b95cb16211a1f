# SPDX-License-Identifier: Apache-2.0
"""`edgeguard check`: the whole behaviour of a guard.toml as tables, or what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgeguard import written
from edgeguard.cli.behaviour import facts, tables
from edgeguard.cli.bundle import trusting
from edgeguard.wiring import core_policy


@click.command()
@click.argument("file", metavar="GUARD.TOML", type=click.Path(path_type=Path), required=False)
@click.option("--json", "json_to", is_flag=False, flag_value="-", metavar="[FILE]",
              help="Write the same as JSON, to FILE or to the terminal.")  # fmt: skip
@trusting
@click.option("--defaults", is_flag=True, help="Print the default rows of all causes and exit.")
def command(
    file: Path | None, json_to: str | None, trust: tuple[Path, ...], unsigned: bool, defaults: bool
) -> None:
    """Check GUARD.TOML, or a bundle (.egb), without running it, and print what the guard will do.

    Exit code 0, or 2 and one line per problem: FILE:LINE: key: what is wrong; what to do.
    """
    from edgeguard import config
    from edgeguard.config.load import files_read

    if defaults:
        click.echo(config.defaults_text())
        return
    if file is None:
        raise click.UsageError(
            "name the guard.toml to check, for example: edgeguard check guard.toml"
        )
    cfg = config.load(file, files=True, trust=trust, unsigned=unsigned)
    cards = config.load_cards(cfg)
    policy = config.policy_dict(cfg, cards)
    core_policy(policy, str(file))
    if json_to is None:
        _print(tables(cfg, cards))
    else:
        written.apart("--json", Path(json_to), file, *trust, *files_read(cfg))
        _write({**facts(cfg, cards), "policy": policy}, json_to)


def _print(parts: list[Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    for part in parts:
        console.print(part)


def _write(data: dict[str, Any], where: str) -> None:
    text = json.dumps(data, indent=1)
    if where == "-":
        click.echo(text)
    else:
        written.text(Path(where), text + "\n")
