# SPDX-License-Identifier: Apache-2.0
"""A row of the catalogue, as something that can be made to happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen


@frozen
class Fault:
    """A fault, and how it is made to happen."""

    id: str
    title: str
    mechanism: str
    """What really happens, in words."""
    causes: frozenset[str]
    """What the guard may call it first, where `Case.begin` is not told."""
    inject: Callable[[Any], None]
    """Takes a Case of its world."""
    most: int | None = None
    """Uses processes or files: so many are made at most, and a tenth of them for a quick look."""
    world: str = "puppets"
    """puppets: whose members say what the fault wants; workers: real models in real processes."""
    alone: bool = False
    """Keeps to the clock: nothing else is made at the same time."""
