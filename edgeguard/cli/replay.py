# SPDX-License-Identifier: Apache-2.0
"""`edgeguard replay`: compute every decision of a log again."""

from __future__ import annotations

from pathlib import Path

import click

from edgeguard.errors import EdgeguardError
from edgeguard.written import apart, whole


@click.command()
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--tape", metavar="FILE", type=click.Path(path_type=Path),
              help="Also write the inputs and decisions as they are, for replay_tape on another "
              "processor.")  # fmt: skip
@click.option("--private-key", metavar="FILE", type=click.Path(path_type=Path),
              help="Of the recipient, when LOG is encrypted.")  # fmt: skip
def command(log: Path, tape: Path | None, private_key: Path | None) -> int:
    """Compute every decision of LOG again and compare it bit for bit.

    No model is needed: a log holds all that the decision core got. Exit code 0 when everything is
    the same, 1 with the first difference, when there is nothing to compare or when more follows the
    log's end, 2 when the log cannot be read. Whether it was changed is another question: see
    edgeguard verify-log.
    """
    from edgeguard.output.recorder.log_reader import Log
    from edgeguard.replay import replay

    apart("--tape", tape, log, private_key)
    opened = Log(log, private_key)
    if tape is not None:
        _write(tape, log, private_key)
    outcome = replay(log, private_key)
    for doubt in opened.doubts():
        click.echo(f"{log}: {doubt}", err=True)
    if outcome.lost:
        click.echo(f"{outcome.lost} records are missing in gaps", err=True)
    if outcome.unknown:
        click.echo(
            f"{outcome.unknown} decisions cannot be computed: the state before them is not in the "
            "log",
            err=True,
        )
    if outcome.difference is not None:
        click.echo(f"{log}: after {outcome.decisions} decisions: {outcome.difference}", err=True)
        return 1
    if outcome.decisions == 0:
        click.echo(f"{log}: holds no decision that can be computed again", err=True)
        return 1
    if opened.following:
        same = f"only the {outcome.decisions} decisions before them are the same"
        click.echo(f"{log}: {same}", err=True)
        return 1
    click.echo(f"{outcome.decisions} decisions, all the same bit for bit")
    return 0


def _write(tape: Path, log: Path, private_key: Path | None) -> None:
    """Whole or not at all: a log may be damaged in its middle."""
    from edgeguard.replay import export

    try:
        with whole(tape) as out:
            export(log, out, private_key)
    except BrokenPipeError:  # of a pipe whose reader left, which the command line tells apart
        raise
    except OSError as error:  # of the tape: those of a log are told by its reader
        raise EdgeguardError(f"--tape {tape}: {error.strerror}") from None
