# SPDX-License-Identifier: Apache-2.0
"""`edgeguard explain`: why the mode changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeguard import written

if TYPE_CHECKING:
    from edgeguard.explain import Change


@click.command()
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path),
              help="Write a timeline as one page.")  # fmt: skip
@click.option("--private-key", metavar="FILE", type=click.Path(path_type=Path),
              help="Of the recipient, when LOG is encrypted.")  # fmt: skip
def command(log: Path, html: Path | None, private_key: Path | None) -> None:
    """For every change of mode in LOG: when, from what to what, the first cause, what was seen.

    Times are those of the log's clock, in seconds.
    """
    from edgeguard.explain import explain
    from edgeguard.explain_page import page
    from edgeguard.output.recorder.log_reader import Log

    written.apart("--html", html, log, private_key)
    story = explain(log, private_key)
    for doubt in Log(log, private_key).doubts():
        click.echo(f"{log}: {doubt}", err=True)
    for change in story.changes:
        click.echo(_line(change))
    gaps = f", {story.gaps} gaps" if story.gaps else ""
    click.echo(f"{story.decisions} decisions, {len(story.changes)} changes of mode{gaps}", err=True)
    if html is not None:
        written.text(html, page(story, log.name))


def _line(change: Change) -> str:
    before = "start" if change.before is None else change.before.name
    cause = f"{change.cause}: " if change.cause else ""
    return f"{change.t_ns / 1e9:10.3f}  {before} -> {change.after.name}  {cause}{change.why}"
