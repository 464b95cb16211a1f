# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that say what their run was made with, so that no other run goes on from them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgeguard.errors import EdgeguardError

MadeWith = dict[str, str]


def made_with(recipe: object, **arrays: npt.NDArray[Any]) -> MadeWith:
    """SHA-256 of what a run depends on: of the recipe as it prints, and of these arrays by name."""
    found = {"recipe": hashlib.sha256(repr(recipe).encode()).hexdigest()}
    for name, array in arrays.items():
        digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
        found[name] = digest.hexdigest()
    return found


def save(path: Path, state: Mapping[str, Any], given: MadeWith) -> None:
    """Write the state of a run that was made with these; a crash meanwhile leaves the old one."""
    torch.save({**state, "made_with": given}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def load(path: Path, given: MadeWith) -> dict[str, Any]:
    """A state of a run that was made with these. Raises EdgeguardError, which names the first that
    differs."""
    if not path.exists():
        raise EdgeguardError(f"{path}: not there; move the other checkpoints of this run away")
    state: dict[str, Any] = torch.load(path, weights_only=True)
    known = state.get("made_with", {})
    for name, digest in given.items():
        if known.get(name) != digest:
            raise EdgeguardError(
                f"{path}: was not made with the {name} of this run, and is not gone on from; move "
                "it away, or train in another folder"
            )
    return state
