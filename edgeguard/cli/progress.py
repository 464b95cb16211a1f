# SPDX-License-Identifier: Apache-2.0
"""A bar for what takes more than two seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import click

T = TypeVar("T")


def begins(what: str) -> None:
    """Says on stderr what goes on before there is anything to count."""
    click.echo(f"{what} ...", err=True)


def shown(total: int, what: str = "driving") -> Callable[[Iterable[T]], Iterable[T]]:
    """Takes an iterable of so many and gives it back, with a bar on stderr."""
    from rich.console import Console
    from rich.progress import track

    return partial(track, description=what, total=total, console=Console(stderr=True))
