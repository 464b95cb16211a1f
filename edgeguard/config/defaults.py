# SPDX-License-Identifier: Apache-2.0
"""What causes do unless guard.toml says otherwise; the rows and their reasons: defaults.toml."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from edgeguard.config.schema import CauseRow
from edgeguard.config.structure import structure
from edgeguard.config.toml import read
from edgeguard.config.vocabulary import CAUSES

_FILE = Path(__file__).with_name("defaults.toml")


@cache
def default_causes() -> dict[str, CauseRow]:
    """The row of every cause, in the order of the core."""
    raw, _ = read(_FILE)
    return {name: structure(raw["cause"][name], CauseRow) for name in CAUSES}


def defaults_text() -> str:
    """The same as a person reads it: the rows with the reason of each."""
    return _FILE.read_text(encoding="utf-8")
