# SPDX-License-Identifier: Apache-2.0
"""`edgeguard bundle`: look at a signed bundle, and make the keys that sign them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

file_path = click.Path(path_type=Path, dir_okay=False)


class _Keys(click.Path):
    """A public key or a folder of them. An empty name, of an unset variable for instance, would be
    the working directory: whatever key lies there would be trusted."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not str(value):
            self.fail("is empty; want KEY.pub or a folder of keys.", param, ctx)
        return Path(os.fsdecode(super().convert(value, param, ctx))).absolute()  # "." is meant


def trusting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The two options of every command that takes a bundle."""
    command = click.option(
        "--unsigned", is_flag=True,
        help="Take a bundle without a signature that counts; every decision then says so.",
    )(command)  # fmt: skip
    return click.option(
        "--trust", multiple=True, type=_Keys(path_type=Path), metavar="KEY.pub|DIR",
        help="Public keys that count for a bundle.  [default: /etc/edgeguard/keys]",
    )(command)  # fmt: skip


@click.group()
def command() -> None:
    """Signed bundles: policy, models, thresholds and results that are trusted together."""


@command.command()
@click.argument("bundle", type=file_path)
@trusting
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def verify(bundle: Path, trust: tuple[Path, ...], unsigned: bool, as_json: bool) -> None:
    """Check every byte of a BUNDLE, its key, and that it is no step back on this machine.

    Exit code 2, and the part's name, when it may not be used.
    """
    from edgeguard.bundle import open_bundle

    opened = open_bundle(bundle, trust, unsigned=unsigned)
    manifest = opened.manifest
    opened.close()
    if as_json:
        click.echo(json.dumps(json.loads(manifest.canonical()), indent=1, ensure_ascii=False))
        return
    by = f"signed with key {manifest.key}" if opened.signed else "NOT VERIFIED: --unsigned"
    click.echo(f"{bundle}: {manifest.name} version {manifest.version}, {by}")
    for part in manifest.parts:
        click.echo(f"  {part.kind:12} {part.size:>9}  {part.sha256[:16]}  {part.path}")


@command.command()
@click.argument("key", type=file_path, metavar="FILE.pem")
@click.option("--only", metavar="NAME", help="It may vouch for bundles of this name alone.")
def key(key: Path, only: str | None) -> None:
    """Make a key to sign with: FILE.pem stays with you, FILE.pub goes onto the machines."""
    from edgeguard.lab.export import new_key

    made = new_key(key, only)
    click.echo(f"key {made.id}: keep {key}; put {key.with_suffix('.pub')} into /etc/edgeguard/keys")
