# SPDX-License-Identifier: Apache-2.0
"""Sinks: whatever takes a decision on every tick."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import IO, Any, Protocol

from edgeguard._core import Decision
from edgeguard.errors import EdgeguardError


class Sink(Protocol):
    """Called once for every decision, in order, from the deciding thread."""

    def __call__(self, decision: Decision, t_ns: int) -> None:
        """Take a decision made at ``t_ns``. Must not block."""


def as_record(decision: Decision, t_ns: int) -> dict[str, Any]:
    """A decision as JSON-ready data; commands in the channels' units, ages in ms."""
    return {
        "t_ns": t_ns,
        "sequence": decision.sequence,
        "mode": decision.mode.name,
        "command": decision.command,
        "active": decision.active,
        "operator_request": decision.operator_request,
        "causes": list(decision.causes),
        "present": list(decision.present),
        "evidence": decision.evidence,
        "ages_ms": decision.ages_ms,
    }


class JsonLines:
    """One JSON object a line."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __call__(self, decision: Decision, t_ns: int) -> None:
        """Write the decision, at once. Raises BrokenPipeError when the reader is gone."""
        self._file.write(json.dumps(as_record(decision, t_ns)) + "\n")
        self._file.flush()


def open_sink(name: str) -> Sink:
    """``-`` for stdout, ``module:callable`` for your own, else a file of JSON lines.

    Raises EdgeguardError when it cannot be opened.
    """
    if name == "-":
        return JsonLines(sys.stdout)
    module, colon, attribute = name.partition(":")
    try:
        if colon and "/" not in name:
            found = getattr(importlib.import_module(module), attribute)
            if not callable(found):
                raise EdgeguardError(f"sink {name}: is not callable")
            return found  # type: ignore[no-any-return]
        return JsonLines(Path(name).open("w", encoding="utf-8", buffering=1))
    except EdgeguardError:
        raise
    except Exception as error:  # the module is the user's: it may raise anything
        raise EdgeguardError(f"sink {name}: {error}; want -, a file, or module:callable") from None
