# SPDX-License-Identifier: Apache-2.0
"""`edgeguard verify-log`: whether a log is what was recorded."""

from __future__ import annotations

from pathlib import Path

import click

from edgeguard.errors import EdgeguardError


@click.command()
@click.argument("log", type=click.Path(path_type=Path))
@click.option(
    "--key", metavar="HEX|FILE",
    help="The recorder's first public key.  [~/.config/edgeguard/log-key.pub]",
)  # fmt: skip
@click.option(
    "--head", metavar="HEX",
    help="A head of its chain that was kept elsewhere: without it in the log, it was cut.",
)  # fmt: skip
def command(log: Path, key: str | None, head: str | None) -> int:
    """Check every byte of LOG against the recorder's key.

    The key must come from somewhere an attacker could not write: a copy made when the recorder ran
    for the first time. Exit code 0: closed, nothing was changed; 1: changed, or no log at all; 3:
    not closed, and nothing was changed up to the record that is named; 2: cannot be read.
    """
    from edgeguard.output.recorder.keys import default_path, first_key, is_hex
    from edgeguard.output.recorder.verify import verify

    if head is not None and not is_hex(head, 32):
        raise EdgeguardError(f"--head {head}: want 64 hex digits")
    if key == "":  # an unset variable, for instance: no other key may stand in for it
        raise EdgeguardError("--key: is empty; want 64 hex digits or a .pub file")
    pinned = key if key is not None else str(default_path().with_suffix(".pub"))
    verdict = verify(log, first_key(pinned), head)
    number = verdict.log_number
    about = f" ({verdict.decisions} decisions; log {number} of this key)"
    click.echo(f"{log}: {verdict.text}{about if number is not None else ''}")
    if key is None:
        hint = "; after --record-key FILE.json, give --key FILE.pub" if number is None else ""
        click.echo(f"held against {pinned}, as no --key is given{hint}", err=True)
    return int(verdict.state)
